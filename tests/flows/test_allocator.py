"""The allocator setting: made on Linux with glibc, harmless elsewhere."""

from __future__ import annotations

import ctypes
import platform
import sys

import pytest

from veilray.flows import keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_is_made_on_glibc() -> None:
    assert keep_freed_memory()


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_does_nothing_on_other_systems(monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr(sys, "platform", system)
    assert not keep_freed_memory()


def test_does_nothing_with_another_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()
