"""The owner's secret: 32 random bytes in a file of their own, and a public identifier that gives nothing away.

All that obfuscation draws comes from here: HKDF-SHA256 (Krawczyk 2010) of the secret gives the key of an AES-256
stream, another one for each purpose and nonce. Who lacks the key cannot tell such a stream from random bits. That says
nothing of what the obfuscated pictures still show: empirical, no formal guarantee.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import stat
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from veilray.errors import Refused
from veilray.places import check_outside_handed_over
from veilray.privacy import Entropy, SystemEntropy
from veilray.privacy.guarantee import EMPIRICAL

__all__ = ["Key", "KeyStream", "new_key", "read_key", "rotate_key"]

FORMAT = "veilray-key"
SECRET_BYTES = 32
_LARGEST_FILE = 2**16
_IDENTIFIER = re.compile("[0-9a-f]{32}")
_ZEROS = memoryview(bytes(2**16))


class KeyStream(Entropy):
    """AES-256 in counter mode under a key of its own: the same key, purpose and nonce give the same bytes.

    Args:
        material: 48 bytes, the AES key and the first counter.
    """

    def __init__(self, material: bytes) -> None:
        self._material = material
        self._cipher = Cipher(algorithms.AES(material[:32]), modes.CTR(material[32:])).encryptor()

    def fill(self, out: memoryview) -> None:
        for start in range(0, len(out), len(_ZEROS)):
            stop = min(len(out), start + len(_ZEROS))
            self._cipher.update_into(_ZEROS[: stop - start], out[start:stop])

    def row(self, index: int) -> KeyStream:
        """The stream of row `index`, keyed apart from this one and from every other row's."""
        if index < 0:
            raise ValueError(f"row must be at least 0, got {index}")
        return KeyStream(_derived(self._material, b"row %d" % index, 48))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key stream must not be copied or pickled: take a new one from the key instead")

    def __repr__(self) -> str:
        return "KeyStream(hidden)"


class Key:
    """A secret with its public part. Neither `repr`, `vars`, pickle nor any message shows the secret.

    Args:
        secret: 32 random bytes.
        created: the day, ISO 8601.
        replaces: the public identifier of the key that this one takes the place of.

    Raises:
        ValueError: for a secret of another length.
    """

    __slots__ = ("__secret", "created", "identifier", "replaces")

    def __init__(self, secret: bytes, created: str, replaces: str | None = None) -> None:
        if len(secret) != SECRET_BYTES:
            raise ValueError(f"the secret of a key must be {SECRET_BYTES} bytes, got another length")
        self.__secret = secret
        self.created = created
        self.replaces = replaces
        self.identifier = _derived(secret, b"public identifier", 16).hex()

    @staticmethod
    def fresh(replaces: str | None = None) -> Key:
        """A key that was never written: for a new file, or to be used once and forgotten."""
        return Key(SystemEntropy().bytes(SECRET_BYTES), datetime.now(UTC).date().isoformat(), replaces)

    def stream(self, purpose: str, nonce: bytes = b"") -> KeyStream:
        """The bytes for one purpose and nonce; others give streams that have nothing in common with this one."""
        return KeyStream(_derived(self.__secret, b"%d:%s:" % (len(purpose), purpose.encode()) + nonce, 48))

    def public(self) -> dict[str, str | None]:
        """What may be shown to anybody: identifier, day, and which key it replaces."""
        return {
            "format": f"{FORMAT}-public",
            "identifier": self.identifier,
            "created": self.created,
            "replaces": self.replaces,
            "claim": EMPIRICAL,
        }

    def write(self, path: Path) -> None:
        """Write the key file, mode 0600, whole or not at all.

        Raises:
            ValueError: where something is there already, there is no folder for it, or the folder goes to the cloud.
        """
        check_outside_handed_over("KEY", path)
        told = {
            **self.public(),
            "format": FORMAT,
            "version": 1,
            "secret": base64.b64encode(self.__secret).decode(),
            "warning": "secret: never copy this file to where obfuscated pictures go",
        }
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            raise ValueError(f"KEY must be a new file, got {path}, which exists: name another --out") from None
        except OSError as error:
            raise ValueError(f"KEY must be a file in a folder that is there, got {path}: {error.strerror}") from None
        try:
            with os.fdopen(descriptor, "w") as file:
                os.fchmod(file.fileno(), 0o600)
                file.write(json.dumps(told, indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key must not be copied or pickled: read it from its file instead")

    def __repr__(self) -> str:
        return f"Key({self.identifier}, created {self.created}, secret hidden)"


def new_key(path: Path) -> Key:
    """Draw a key from the operating system and write it to the new file `path`.

    Raises:
        ValueError: where the file exists.
    """
    key = Key.fresh()
    key.write(path)
    return key


def rotate_key(old: Path, path: Path) -> Key:
    """Draw a key that takes the place of the one in `old`, and write it to the new file `path`.

    The old file stays: what was obfuscated under it can be told by its identifier. Raises as `read_key` and `new_key`.
    """
    key = Key.fresh(replaces=read_key(old).identifier)
    key.write(path)
    return key


def read_key(path: Path) -> Key:
    """Read a key file.

    Raises:
        ValueError: where there is none, or it is truncated, altered or something else. No message quotes its contents.
        Refused: where others than its owner may read or write it.
    """
    try:
        # A pipe is opened without waiting for who writes into it, and then refused.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise ValueError(f"KEY must be a key file, got {path}: {error.strerror}") from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE:
            raise ValueError(f"KEY must be a key file made by `veilray keys new`, got {path}")
        if status.st_mode & 0o077:
            raise Refused(
                f"a key must be readable by its owner only, got {path} with mode {status.st_mode & 0o777:04o}: "
                "who else may have read it? Make a new one with `veilray keys rotate`, after `chmod 600`"
            )
        key = _parsed(os.read(descriptor, _LARGEST_FILE))
    finally:
        os.close(descriptor)
    if key is None:
        raise ValueError(f"KEY must be a whole key file made by `veilray keys new`, got {path}: truncated or altered")
    return key


def _parsed(content: bytes) -> Key | None:
    """The key, or None: the errors of the readers below hold what they read, so none of them may travel on."""
    try:
        told: Any = json.loads(content)
        if told["format"] != FORMAT or told["version"] != 1:
            return None
        replaces = told["replaces"]
        if replaces is not None and not _IDENTIFIER.fullmatch(replaces):
            return None
        created = date.fromisoformat(told["created"]).isoformat()
        key = Key(base64.b64decode(told["secret"], validate=True), created, replaces)
        return key if key.identifier == told["identifier"] else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error):
        return None


def _derived(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, b"veilray obfuscation 1/" + purpose).derive(secret)
