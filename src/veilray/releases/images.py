"""RELEASE of pictures: what is staged, batch by batch, and what stands beside the pictures.

    RELEASE/
        README          the card in plain words
        release.json    guarantee, model card, hashes of all files
        manifest.csv    file name and released conditions
        images/         fresh random names; class sub-folders only where the label is released
        DATASET.md, croissant.json      the data set card, for people and for data tools
        codes.npy, kept_code/           only of a method with a kept code: see `features.py`

Nothing in it links to a source: names are random, order is random, times are one and the same, and picture files carry
pixels only. The row that a kept code's picture was made from is logged with the picture's hash, in one transaction.
"""

from __future__ import annotations

import csv
import hashlib
import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from veilray.errors import Refused
from veilray.images import Collection, ImageRef, Quarantined, restore, write_image
from veilray.privacy import Entropy, Guarantee, Mechanism
from veilray.privacy.card import ReleaseOrigin, card_text
from veilray.releases.conditions import ConditionRule, draw_conditions
from veilray.releases.declared import facts_of
from veilray.releases.features import CANDIDATES, CODES, KEPT_FOLDER, Kept
from veilray.releases.log import ImageLog, StagedFile
from veilray.releases.model import Method, ModelCard, Progress, Release, ReleaseContext
from veilray.releases.plan import Plan, ReleaseWriter, check_decode_under, completed_claim, overlap_with
from veilray.releases.staging import Describe, Origin, Staging, claim_of, origin_of, sha256_of
from veilray.releases.training_record import Overlap
from veilray.text import folder_name

__all__ = ["ImageStaging", "ImageWriter", "plan_release", "trained_on"]

_BATCH = 64


def plan_release(
    collection: Collection,
    method: Method,
    mechanism: Mechanism,
    rules: tuple[ConditionRule, ...],
    *,
    keep_geometry: bool = False,
    job: Mapping[str, Any] | None = None,
    kept: Kept | None = None,
    describe: Describe | None = None,
    decode_under: Mapping[str, str] | None = None,
    allow_trained_on_released: bool = False,
) -> Plan[Collection]:
    """Work out the whole claim of a release; spends nothing and looks at no pixel.

    The hashes that the scan took of the pixels are compared with those of the records that the model was fitted on.

    Args:
        collection: scanned beforehand, so that refused files are known before anything is drawn.
        keep_geometry: give each picture its source's rows, columns and bit depth back; listed as not covered.
        kept: `Kept.of` the method and mechanism; a release of a method with a kept code cannot start without.
        describe: writes the data set card from what release.json tells.
        decode_under: facts that the decoder is told of every picture in place of its own (a counterfactual).
        allow_trained_on_released: release by a network that may have been trained on these records; the headline of
            the claim then says so.

    Raises:
        ValueError: for zero images, a mechanism of another dimension than the model's, or facts to decode under that
            the model does not know.
        Refused: for a kept code that was not fitted on public images, or a network that may know the records.
    """
    refs = collection.refs
    if not refs:
        raise ValueError("IMAGES must hold at least one readable image, got none: see the quarantine for reasons")
    _code_may_leave(method)
    check_decode_under(method, decode_under or {})
    guarantee, images_of, unidentified = completed_claim(
        method,
        mechanism,
        rules,
        [ref.patient for ref in refs],
        trained_on(collection, method),
        record="image",
        allow_trained_on_released=allow_trained_on_released,
        in_clear=("rows, columns and bit depth of each source image, kept on request",) if keep_geometry else (),
        images_per_patient=collection.reading.images_per_patient,
    )
    return Plan(
        collection,
        tuple(collection.quarantine),
        method,
        mechanism,
        rules,
        guarantee,
        images_of,
        unidentified,
        ImageWriter(method, keep_geometry, kept),
        dict(job or {}),
        describe,
        dict(decode_under or {}),
    )


def trained_on(collection: Collection, method: Method) -> Overlap | None:
    """Which images of a scanned collection are among those that the model was fitted on; see `overlap_with`."""
    return overlap_with(method.card, collection.contents, collection.patients())


@dataclass(frozen=True)
class ImageWriter(ReleaseWriter[Collection]):
    """Stages pictures a batch at a time; each batch is durable and logged before the next is drawn.

    Attributes:
        keep_geometry: give each picture its source's rows, columns and bit depth back.
        kept: the public side of a method with a kept code.
    """

    method: Method
    keep_geometry: bool = False
    kept: Kept | None = None

    def check(self, plan: Plan[Collection]) -> None:
        if (self.kept is None) != (self.method.kept_code is None):
            raise ValueError(
                f"kept must be Kept.of method {self.method.name} and its mechanism, got another: plan it anew"
            )

    def asked(self, plan: Plan[Collection]) -> dict[str, Any]:
        sources = hashlib.sha256()
        for ref in plan.source.refs:
            told = (ref.source, ref.frame, ref.patient, ref.label, sorted(ref.conditions.items()))
            sources.update(repr(told).encode())
        return {
            "sources_sha256": sources.hexdigest(),
            "pixels_sha256": hashlib.sha256(b"".join(plan.source.contents)).hexdigest(),
            "levels": {rule.name: list(rule.levels) for rule in plan.rules},
            **({} if self.kept is None else {"kept_code": self.kept.sha256()}),
        }

    def new_log(self, folder: Path) -> ImageLog:
        return ImageLog.create(folder)

    def open_log(self, folder: Path) -> ImageLog:
        return ImageLog.open(folder)

    def arrange(self, plan: Plan[Collection], log: ImageLog, entropy: Entropy) -> None:
        order, refs = entropy.permutation(len(plan.source.refs)), plan.source.refs
        items = ((position, refs[image], entropy.bytes(8).hex()) for position, image in enumerate(order))
        log.plan(items, plan.source.quarantine)

    def stage(
        self,
        plan: Plan[Collection],
        out: Path,
        log: ImageLog,
        entropy: Entropy,
        origin: Origin,
        progress: Progress | None,
    ) -> str:
        staging = ImageStaging(out, origin.identifier)
        staging.prepare(log.committed())
        self._stage_pending(plan, staging, log, entropy, progress)
        return staging.finish(
            plan.guarantee, self.method.card, list(log.committed()), origin, self.kept, plan.describe, plan.decode_under
        )

    def _stage_pending(
        self,
        plan: Plan[Collection],
        staging: ImageStaging,
        log: ImageLog,
        entropy: Entropy,
        progress: Progress | None,
    ) -> None:
        pending = log.pending()
        done, total = log.counts()
        context = ReleaseContext(plan.mechanism, entropy)
        for start in range(0, len(pending), _BATCH):
            chunk = pending[start : start + _BATCH]
            refs = [plan.source.refs[image] for _, image, _ in chunk]
            images, unread = self._read(plan.source, refs)
            log.note(unread)
            facts = facts_of(refs)
            conditions = draw_conditions(facts, plan.rules, entropy)
            known = [{name: row.get(name, "") for name in plan.leaving} for row in facts]
            told = [{**row, **plan.decode_under} for row in conditions]
            drawn = self.method.release(images, context, known, told)
            files = []
            for (position, _, name), ref, released, picture, code in zip(
                chunk, refs, conditions, drawn.pixels, _code_rows(drawn), strict=True
            ):
                path, sha256 = staging.place(name, released, self._in_geometry(ref, picture))
                files.append(StagedFile(position, path, released, sha256, code))
            staging.fsync()
            log.commit(files)
            done += len(chunk)
            if progress:
                progress(done, total)

    def _read(self, source: Collection, refs: Sequence[ImageRef]) -> tuple[NDArray[Any], list[Quarantined]]:
        """Pixels of the batch, fitted to the model, and what could not be read. A file that has vanished since the scan
        becomes a blank picture: it was counted and charged, and a refusal now would tell. The owner is told, in the
        log."""
        geometry = self.method.geometry
        images = np.zeros((len(refs), *geometry.shape), geometry.dtype)
        unread = []
        for row, ref in enumerate(refs):
            try:
                images[row] = source.read(ref, geometry)
            except (OSError, ValueError):
                unread.append(Quarantined(ref.source, "unreadable after the scan: released as if it were blank"))
        return images, unread

    def _in_geometry(self, ref: ImageRef, picture: NDArray[Any]) -> NDArray[Any]:
        if not self.keep_geometry:
            return picture
        return restore(picture, replace(ref.original, channels=self.method.geometry.channels))


class ImageStaging(Staging):
    """The staging folder of released pictures."""

    def place(self, name: str, conditions: dict[str, str], pixels: NDArray[Any]) -> tuple[str, str]:
        """Write one released image durably; return its path in the release and its SHA-256."""
        label = conditions.get("label")
        relative = Path("images", *([folder_name(label)] if label else []), f"{name}.png")
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._touched |= {path.parent, path.parent.parent}
        written = write_image(path, pixels)
        return relative.as_posix(), hashlib.sha256(written).hexdigest()

    def finish(
        self,
        guarantee: Guarantee,
        card: ModelCard,
        files: Sequence[StagedFile],
        origin: Origin,
        kept: Kept | None,
        describe: Describe | None,
        decoded_under: Mapping[str, str],
    ) -> str:
        """Write everything else beside the images; return the SHA-256 of release.json, which names all hashes.

        Raises:
            Refused: where the rows of a kept code were not committed with their images.
        """
        self.write("manifest.csv", _manifest(files))
        readme = _readme(
            guarantee, origin_of(card, origin), card, len(files), kept, describe is not None, decoded_under
        )
        self.write("README", readme)
        told = {
            **claim_of(guarantee, card, origin),
            **({"decoded_under": dict(decoded_under)} if decoded_under else {}),
            **_label_folders(files),
            **({} if kept is None else kept.write(self.folder, _rows(files))),
        }
        listed = {file.path: file.sha256 for file in files}
        written = ["manifest.csv", "README", *([] if kept is None else kept.names(self.folder))]
        listed |= {name: sha256_of(self.folder / name) for name in written}
        return self.finalise(told, listed, origin.day, describe)


def _code_may_leave(method: Method) -> None:
    """A kept code leaves with every release, so it must be of public images: its numbers can give a training image
    away. Raises Refused otherwise."""
    if method.kept_code is not None and method.card.training.data != "public":
        raise Refused(
            f"a kept code must be fitted on public images, got a model whose training data is "
            f"{method.card.training.data!r}: the code leaves with every release. Fit one with --training-data public"
        )


def _code_rows(drawn: Release) -> list[bytes] | list[None]:
    if drawn.code is None:
        return [None] * len(drawn.pixels)
    return [row.tobytes() for row in np.ascontiguousarray(drawn.code, dtype="<f8")]


def _label_folders(files: Sequence[StagedFile]) -> dict[str, dict[str, str]]:
    """Folder to label, of the labels that are not their own folders' names."""
    labels = {label for file in files if (label := file.conditions.get("label"))}
    renamed = {folder_name(label): label for label in sorted(labels) if folder_name(label) != label}
    return {"label_folders": renamed} if renamed else {}


def _rows(files: Sequence[StagedFile]) -> list[bytes]:
    rows = [file.code for file in files if file.code is not None]
    if len(rows) != len(files):
        raise Refused(
            f"{len(files) - len(rows)} committed images have no code row in RECORD: they must not be drawn again. "
            "Make a new release (charged anew)"
        )
    return rows


def _manifest(files: Sequence[StagedFile]) -> str:
    columns = ["path", *sorted({name for file in files for name in file.conditions})]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({"path": file.path, **file.conditions} for file in files)
    return text.getvalue()


def _readme(
    guarantee: Guarantee,
    origin: ReleaseOrigin,
    card: ModelCard,
    count: int,
    kept: Kept | None,
    described: bool,
    decoded_under: Mapping[str, str],
) -> str:
    title = f"{count:,} released images"
    files = "Files: images/ (PNG), manifest.csv, release.json (the claim for machines, SHA-256 of every file).\n"
    if kept is not None:
        also = f", {CANDIDATES} (the public list)" if kept.candidates is not None else ""
        files += (
            f"The pictures were made from {CODES}: {kept.code.dimension} released numbers an image, in the order of "
            "manifest.csv.\nBoth leave under the one claim above.\n"
            f"{KEPT_FOLDER}/ (the public function that these numbers are of){also}.\n"
        )
    if decoded_under:
        facts = ", ".join(f"{name} = {value}" for name, value in sorted(decoded_under.items()))
        files += f"Counterfactual: every picture was drawn as if {facts}, whatever its own.\n"
    if described:
        files += "DATASET.md and croissant.json: the data set card, for people and for data tools.\n"
    return (
        f"{title}\n{'=' * len(title)}\n\n"
        "These pictures were made by veilray from images that stay where they were taken.\n"
        "This is what is promised about them:\n\n"
        f"{card_text(guarantee, origin)}\n"
        f"Model: {card.name} ({card.method}), {card.for_release().weights_words}.\n"
        f"Geometry, brought from each source by this rule:\n{textwrap.indent(card.geometry_rule, '  ')}\n"
        f"{files}"
    )
