#!/usr/bin/env bash
# Build the wheel, install it in a fresh environment, and do the main job with it on twelve small pictures.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(realpath "${PYTHON:-.venv/bin/python}" --no-symlinks)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$python" -m build --wheel --no-isolation --outdir "$work/dist" . >/dev/null
if "$python" -m zipfile -l "$work"/dist/veilray-*.whl | grep -iE 'stud(y|ies)'; then
    echo "wheel: must hold no studies, got the files above" >&2
    exit 1
fi
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet -c constraints.txt torch
"$work/venv/bin/pip" install --quiet -c constraints.txt "$work"/dist/veilray-*.whl

export VEILRAY_LEDGER="$work/ledger.sqlite"
cd "$work"
veilray="$work/venv/bin/veilray"
"$work/venv/bin/python" - <<'PY'
import numpy as np
rng = np.random.default_rng(0)
images = (rng.random((24, 16, 16)) * 80 + np.linspace(0, 160, 16)).astype(np.uint8)
np.savez("public.npz", images=images)
np.savez("pictures.npz", images=255 - images)
PY
"$veilray" fit dp-glow public.npz --out model --size 16 --levels 2 --steps 2 --width 8 --epochs 2 --training-data public \
    --statement "synthetic gradients"
"$veilray" check pictures.npz --model model
"$veilray" release pictures.npz --model model --epsilon 8 --out release
"$veilray" card release
test "$(find release/images -name '*.png' | wc -l)" = 24
echo "wheel: built, installed, fitted, released"
