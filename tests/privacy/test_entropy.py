"""Randomness: never shared between processes, copies, rows or keys; reproducible only where a seed says so."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from veilray.privacy import SeededEntropy, SystemEntropy
from veilray.privacy import entropy as module
from veilray.privacy.entropy import REKEY_AFTER, RowStreams


def blocks(data: bytes) -> set[bytes]:
    return {data[start : start + 16] for start in range(0, len(data), 16)}


def in_child(work):
    """What `work()` returns in a forked child, as bytes."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # a child that waits for ever is killed, and has said nothing
        try:
            os.write(write, work())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found


def test_branches_of_the_system_are_one_stream_that_gives_no_word_twice():
    entropy = SystemEntropy()
    branches = entropy.branches(3)
    words = np.concatenate([one.words(1000, np.uint64) for one in (*branches, entropy, *entropy.branches(2))])
    assert len(np.unique(words)) == 6000


def test_branches_of_a_seed_stand_apart_and_come_again_only_with_the_seed():
    one, two = SeededEntropy(1), SeededEntropy(1)
    first, second = one.branches(2), two.branches(2)
    assert first[0].bytes(9) == second[0].bytes(9)
    second[0].bytes(1000)  # what one branch draws does not move another
    assert first[1].bytes(9) == second[1].bytes(9)
    drawn = [branch.words(500, np.uint64) for branch in (*one.branches(2), *SeededEntropy(1).branches(2), one)]
    assert len(np.unique(np.concatenate(drawn))) == 2500


def test_a_forked_child_draws_other_bytes():
    entropy = SystemEntropy()
    entropy.bytes(64)
    assert in_child(lambda: entropy.bytes(64)) != entropy.bytes(64)


def test_a_child_that_shares_the_stream_would_be_seen(monkeypatch):
    # The mutation: without the hook and the owner, parent and child go on with one keystream.
    entropy = SystemEntropy()
    entropy.bytes(64)
    cipher = entropy._cipher

    def stale(self):
        self._left = REKEY_AFTER
        return cipher

    monkeypatch.setattr(SystemEntropy, "_fresh_enough", stale)
    assert in_child(lambda: entropy.bytes(64)) == entropy.bytes(64)


def test_a_fork_while_another_thread_draws_does_not_hang():
    entropy = SystemEntropy()
    with entropy._lock:
        assert len(in_child(lambda: entropy.bytes(16))) == 16


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_system_entropy_refuses_to_be_duplicated(duplicate):
    with pytest.raises(TypeError, match="make a new SystemEntropy"):
        duplicate(SystemEntropy())


def test_the_key_changes_every_16_mib(monkeypatch):
    keys = []
    original = module._keystream
    monkeypatch.setattr(module, "_keystream", lambda key, nonce: keys.append(key) or original(key, nonce))
    entropy = SystemEntropy()
    entropy.bytes(REKEY_AFTER)
    assert len(keys) == 1
    entropy.bytes(1)
    assert len(keys) == 2
    entropy.bytes(2 * REKEY_AFTER)
    assert len(set(keys)) == 4


def test_no_key_reads_past_its_limit(monkeypatch):
    monkeypatch.setattr(module, "REKEY_AFTER", 100)
    entropy = SystemEntropy()
    assert len(blocks(entropy.bytes(160_000))) == 10_000


def test_threads_never_get_the_same_block():
    entropy = SystemEntropy()
    start = threading.Barrier(4)

    def draw(_: int) -> bytes:
        start.wait()
        return b"".join(entropy.bytes(4096) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(draw, range(4)))
    assert len(set().union(*map(blocks, drawn))) == sum(len(part) // 16 for part in drawn)


def test_nothing_of_the_key_is_shown():
    assert repr(SystemEntropy()) == "SystemEntropy()"
    assert repr(SeededEntropy(5)) == "SeededEntropy(experiments only)"


def test_seeds_reproduce_and_differ():
    assert SeededEntropy(1).bytes(64) == SeededEntropy(1).bytes(64)
    assert SeededEntropy(1).bytes(64) != SeededEntropy(2).bytes(64)
    entropy = SeededEntropy(1)
    assert entropy.bytes(64) != entropy.bytes(64)


def test_seeded_rows_have_streams_of_their_own():
    entropy = SeededEntropy(1)
    assert entropy.row(3).bytes(64) == SeededEntropy(1).row(3).bytes(64)
    assert entropy.row(3).bytes(64) != entropy.row(4).bytes(64)
    assert SystemEntropy().row(3).bytes(64) != SystemEntropy().row(3).bytes(64)


@pytest.mark.parametrize("entropy", [SeededEntropy(1), SystemEntropy()])
def test_negative_rows_are_refused(entropy):
    with pytest.raises(ValueError, match="row must be at least 0"):
        entropy.row(-1)


def test_long_draws_are_whole():
    long = SeededEntropy(1).bytes(3 * 2**20 + 7)
    assert len(long) == 3 * 2**20 + 7
    assert len(blocks(long[: 3 * 2**20])) == 3 * 2**16


def test_below_is_uniform_and_refuses_nothing_to_choose_from():
    entropy = SeededEntropy(3)
    counts = np.bincount([entropy.below(5) for _ in range(5000)], minlength=5)
    assert counts.min() > 880
    with pytest.raises(ValueError, match="bound must be at least 1"):
        entropy.below(0)


def test_permutations_hold_every_index_once():
    order = SeededEntropy(3).permutation(1000)
    assert sorted(order) == list(range(1000))
    assert list(order) != list(range(1000))
    assert SeededEntropy(3).permutation(0).tolist() == []


def drawn(streams: RowStreams, first: int, rows: int) -> np.ndarray:
    out = np.empty((3, rows, 5), np.uint16)
    streams.fill(first, out)
    return out


def test_seeded_row_streams_do_not_depend_on_other_rows():
    many = drawn(SeededEntropy(9).streams(), 0, 7)
    assert np.array_equal(drawn(SeededEntropy(9).streams(), 4, 1)[:, 0], many[:, 4])
    assert len({many[:, row].tobytes() for row in range(7)}) == 7


def test_seeded_row_streams_are_new_at_every_call():
    entropy = SeededEntropy(9)
    assert not np.array_equal(drawn(entropy.streams(), 0, 2), drawn(entropy.streams(), 0, 2))


def test_further_words_of_a_row_are_its_own_and_never_repeat():
    first, second = SeededEntropy(9).streams(), SeededEntropy(9).streams()
    mixed = first.more(np.array([5, 2, 5, 9, 5]))
    alone = second.more(np.array([5, 5, 5]))
    assert mixed[[0, 2, 4]].tolist() == alone.tolist()
    assert len({*mixed.tolist(), *first.more(np.array([5, 2])).tolist()}) == 7


def test_further_words_do_not_repeat_what_filled_the_row():
    streams = SeededEntropy(9).streams()
    out = np.empty((1, 1, 2), np.uint64)
    streams.fill(0, out)
    assert streams.more(np.array([0]))[0] not in out


def test_system_rows_share_one_stream_that_never_repeats():
    streams = SystemEntropy().streams()
    assert streams.shared
    assert len(set(streams.more(np.zeros(1000, np.int64)).tolist())) == 1000
    streams.fill(0, np.empty((0, 1, 1), np.uint8))
