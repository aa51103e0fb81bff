"""What leaves with a kept code, beside the pictures: the released rows, the public function, the mechanism's recipe.

    RELEASE/
        codes.npy                   what the mechanism drew, (n, k) float64, in the order of manifest.csv
        kept_code/code.json         the public function of a picture to k numbers
        kept_code/code-*.safetensors
        kept_code/candidates.npy    only for a mechanism that chooses among a public list

The rows are the release; the pictures are post-processing of them, so all leave under one claim.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from veilray.codes import KeptCode, save_code
from veilray.durable import write_bytes
from veilray.privacy import MECHANISMS, Claim, Mechanism
from veilray.privacy.exact import Exact
from veilray.releases.model import Method

__all__ = ["CANDIDATES", "CODES", "KEPT_FOLDER", "Kept", "Recipe", "array_of"]

CODES = "codes.npy"
KEPT_FOLDER = "kept_code"
CANDIDATES = f"{KEPT_FOLDER}/candidates.npy"

_MOST_ELEMENTS = 2**24
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
_Text = Annotated[str, StringConstraints(max_length=4096)]


class Recipe(BaseModel):
    """How a mechanism was calibrated, in public text: whoever holds it calibrates the very same one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(max_length=64)
    epsilon: Exact
    delta: Exact
    unit: Literal["image", "element"]
    dimension: int = Field(ge=1, le=_MOST_ELEMENTS)
    options: dict[_Name, _Text] = Field(default_factory=dict, max_length=16)

    @property
    def needs_candidates(self) -> bool:
        """Whether the mechanism chooses among a public list. Raises ValueError for an unknown mechanism."""
        return MECHANISMS[self.name].needs_candidates(self.options)

    def calibrate(self, candidates: NDArray[np.float64] | None = None) -> Mechanism:
        """The mechanism; `candidates` is the public list of one that chooses among them.

        Raises:
            ValueError: for an unknown mechanism, or options it does not take.
        """
        kind, needed = MECHANISMS[self.name], self.needs_candidates
        if needed != (candidates is not None):
            word = "come" if needed else "not come"
            raise ValueError(f"candidates must {word} with mechanism {self.name}, got the opposite")
        options: dict[str, Any] = dict(self.options)
        if options.keys() & {"claim", "dimension"} or (candidates is not None and "candidates" in options):
            raise ValueError(f"options of {self.name} must be its own, got {', '.join(sorted(options))}")
        if candidates is not None:
            options["candidates"] = candidates
        return kind.calibrate(Claim.of(self.epsilon, self.delta, self.unit), self.dimension, **options)


@dataclass(frozen=True)
class Kept:
    """The public side of a release with a kept code; make one with `Kept.of`."""

    code: KeptCode
    recipe: Recipe
    candidates: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, method: Method, mechanism: Mechanism, claim: Claim, options: Mapping[str, object]) -> Kept | None:
        """What leaves beside the pictures of `method`; None where it keeps no code.

        Args:
            claim, options: what `mechanism` was calibrated with, the list of candidates left out.

        Raises:
            ValueError: when they do not give this mechanism again, or code and mechanism differ in dimension.
        """
        code = method.kept_code
        if code is None:
            return None
        if not code.dimension == method.dimension == mechanism.dimension:
            raise ValueError(
                f"dimension must be the kept code's {code.dimension} for method and mechanism, got {method.dimension} "
                f"and {mechanism.dimension}"
            )
        recipe = Recipe(
            name=mechanism.name,
            epsilon=claim.epsilon,
            delta=claim.delta,
            unit=claim.unit,
            dimension=mechanism.dimension,
            options={name: str(value) for name, value in options.items()},
        )
        candidates = mechanism.candidates
        if recipe.calibrate(candidates).guarantee(code.dimension) != mechanism.guarantee(code.dimension):
            raise ValueError(
                f"options must give the mechanism {mechanism.name} that draws, got others: a recipient could not "
                "rebuild it"
            )
        return cls(code, recipe, candidates)

    def sha256(self) -> str:
        """The SHA-256 of the code's JSON, which stands for the whole code."""
        with tempfile.TemporaryDirectory() as folder:
            return save_code(self.code, Path(folder))

    def write(self, folder: Path, rows: Sequence[bytes]) -> dict[str, Any]:
        """Write `codes.npy` and `kept_code/` durably into the release; return what release.json tells of them."""
        drawn = np.frombuffer(b"".join(rows), dtype="<f8").reshape(len(rows), self.code.dimension)
        write_bytes(folder / CODES, _npy(drawn))
        sha256 = save_code(self.code, folder / KEPT_FOLDER)
        if self.candidates is not None:
            write_bytes(folder / CANDIDATES, _npy(self.candidates))
        return {
            "kept_code": {"kind": self.code.name, "dimension": self.code.dimension, "sha256": sha256},
            "mechanism": self.recipe.model_dump(mode="json"),
        }

    @staticmethod
    def names(folder: Path) -> list[str]:
        """What `write` wrote into the release, by name."""
        inside = sorted(path.name for path in (folder / KEPT_FOLDER).iterdir())
        return [CODES, *(f"{KEPT_FOLDER}/{name}" for name in inside)]


def array_of(content: bytes, what: str, columns: int, rows: int | None = None) -> NDArray[np.float64]:
    """Read the bytes of a `.npy` of `(rows, columns)` little-endian float64, never pickled; the array is its own.

    Nothing is allocated before the header was compared with the bytes that are there.

    Raises:
        ValueError: for another type or shape, values that are not finite, or missing or surplus bytes.
    """
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"version {version}")
        shape, by_column, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise ValueError(f"{what} must be a NumPy .npy file of version 1.0, got: {error}") from None
    if dtype != np.dtype("<f8") or by_column or len(shape) != 2:
        raise ValueError(f"{what} must be (n, {columns}) little-endian float64, got {dtype} of shape {shape}")
    if shape[1] != columns or (rows is not None and shape[0] != rows):
        raise ValueError(f"{what} must have shape ({'n' if rows is None else rows}, {columns}), got {shape}")
    there = len(content) - file.tell()
    if there != 8 * shape[0] * shape[1]:
        raise ValueError(f"{what} must hold {8 * shape[0] * shape[1]:,} bytes of numbers, got {there:,}: copy it again")
    array = np.frombuffer(content, dtype="<f8", offset=file.tell()).reshape(shape).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, got other values")
    return array


def _npy(array: NDArray[np.float64]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array, dtype="<f8"), version=(1, 0), allow_pickle=False)
    return file.getvalue()
