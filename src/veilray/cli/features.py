"""`veilray features`: the kept code of each released picture, for learners in any language that reads .npz."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated

import typer

from veilray.cli import options
from veilray.cli.output import OUT, print_json, progress_bar
from veilray.places import check_apart, check_new_file, write_new

__all__ = ["features"]


def features(
    release: Annotated[Path, typer.Argument(help="RELEASE: a folder made by `veilray release`.")],
    out: Annotated[Path, typer.Option(help="The new .npz with code, features, label, path, epsilon.")],
    as_json: options.AsJson = False,
) -> int:
    """Write what a release keeps of each picture as arrays; the claim covers them as it covers the pictures."""
    import numpy as np

    from veilray.releases.dataset import open_release

    if out.suffix != ".npz":
        raise ValueError(f"--out must end in .npz, got {out}")
    check_new_file("--out", out)
    check_apart({"--out": out}, {"RELEASE": release})
    with progress_bar("reading the release"):
        opened = open_release(release)
    rows = opened.features()
    epsilon = str(opened.guarantee.total_image_epsilon)
    arrays = {
        "code": np.asarray(opened.codes),
        "features": rows,
        "path": np.array(opened.paths),
        "epsilon": np.array(epsilon),
        "description": np.array(_DESCRIPTION.format(mechanism=opened.guarantee.mechanism)),
    }
    if opened.labels is not None:
        arrays["label"] = np.array(opened.labels)
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    write_new("--out", out, content.getvalue())
    count, dimension = rows.shape
    if as_json:
        told = {"features": str(out), "images": count, "dimension": dimension, "labels": opened.labels is not None}
        print_json({**told, "epsilon": epsilon, "guarantee": opened.guarantee.to_dict()})
        return 0
    OUT.print(f"{count:,} rows of {dimension} numbers in {out}", highlight=False, soft_wrap=True)
    return 0


_DESCRIPTION = (
    "code: what the mechanism {mechanism} drew for each released picture, (n, k) float64; features: the same on the "
    "scale of clean codes, what a learner trains on; label: as released, absent where it was withheld; path: of the "
    "picture in the release; epsilon: of one whole image with its randomised conditions, an exact fraction"
)
