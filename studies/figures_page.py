"""Write docs/reference/figures.md from the figures that `studies/figures.py` measured.

python studies/figures_page.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from veilray.privacy import MECHANISMS, Claim
from veilray.privacy.card import card_text

DOCS = Path(__file__).resolve().parents[1] / "docs"
SETS = {
    "chest-xray": "Chest X-rays, 64 x 64",
    "fashion-mnist": "Fashion-MNIST, 28 x 28",
    "digits": "Digits, 28 x 28",
}
SHAPE = {
    "chest-xray": "--size 64 --levels 4 --steps 8 --width 64 --epochs 24 --batch-size 16",
    "fashion-mnist": "--size 28 --levels 2 --steps 8 --width 64 --epochs 10 --learning-rate 2e-3 --max-minutes 18",
    "digits": "--size 28 --levels 2 --steps 6 --width 32 --epochs 16 --batch-size 16 --learning-rate 4e-3",
}
STATEMENTS = {
    "chest-xray": "chest X-rays of children, Kermany et al. 2018; other patients than the released",
    "fashion-mnist": "Fashion-MNIST, the first 20,000 training images",
    "digits": "MNIST digits, one part of 5,000",
}
DATA = {
    "chest-xray": ("kermany", ".csv", " --root KERMANY"),
    "fashion-mnist": ("fashion-mnist", ".npz", ""),
    "digits": ("digits", ".npz", ""),
}


def main() -> None:
    (DOCS / "reference" / "figures.md").write_text(page())


def page() -> str:
    """The whole page as Markdown."""
    told = {name: json.loads((DOCS / "figures" / f"{name}.json").read_text()) for name in SETS}
    return "\n".join([_opening(), _networks(told), *(_section(name, told[name]) for name in SETS), _cards()])


def _opening() -> str:
    return """# Figures

What DP-GLOW does to pictures at each claim, how well its networks are trained, and how far the premise of the method holds.
This page is written by `python studies/figures_page.py` from the JSON files beside the pictures, and those by
`studies/figures.py`; the commands stand at each set.

**Read it so.** One column is one image, one row is one claim. Ten images are shown: those whose file names have the lowest
SHA-256. The last row holds no image at all. Where a row looks like the last one, nothing of the image can be seen in it.

**Whole-image epsilon 8 with noise on every coordinate destroys the picture.** So does 100; at 1,000 next to nothing is left. Per-element epsilon 10, the kind
of figure that is published, still shows the source, and is a whole-image epsilon of 7,840 at 28 x 28 and 40,960 at 64 x 64: a claim
that bounds no attack. What can be kept under a true claim is the business of
[other mechanisms](../how-to/choose-a-mechanism-and-an-epsilon.md).
"""


def _networks(told: dict[str, dict[str, Any]]) -> str:
    lines = [
        "## Networks",
        "",
        "Bits per dimension on images of other patients than the network was trained on: the lower, the better it knows its kind.",
        "",
        "| set | training images | parameters | epochs | bits/dim, validation | bits/dim, test images |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in SETS.items():
        card = told[name]["model"]
        figures = card["figures"]
        lines.append(
            f"| {title} | {card['training_images']:,} | {figures['parameters']:,.0f} | {figures['epochs']:.0f} | "
            f"{figures['validation_bits_per_dimension']:.3f} | {told[name]['held_out_bits_per_dimension']:.3f} |"
        )
    minutes = [told[name]["model"]["figures"]["training_seconds"] / 60 for name in SETS]
    lines += [
        "",
        f"Each was trained on two shared cores in {min(minutes):.0f} to {max(minutes):.0f} minutes; longer training lowers the figures. "
        "Chest X-rays: Kermany, Zhang and Goldbaum 2018, CC BY 4.0, the public half of the training patients.",
        "",
    ]
    return "\n".join(lines)


def _section(name: str, told: dict[str, Any]) -> str:
    folder, suffix, root = DATA[name]
    sets, premise = f"sets/{folder}", told["premise"]
    rows = [
        f"| {'per element' if row['unit'] == 'element' else 'whole image'} {int(row['epsilon']):,} | "
        f"{int(row['whole_image_epsilon']):,} | {row['element_epsilon']:.3g} | {100 * row['odds_among_1000']:.3g} % | "
        f"{row['correlation_of_pictures']:.2f} |"
        for row in told["settings"]
    ]
    return "\n".join(
        [
            f"## {SETS[name]}",
            "",
            f"![Contact sheet: {SETS[name]}](../figures/contact-sheet-{name}.png)",
            "",
            "| epsilon asked for | whole image | per element | best odds among 1,000 | correlation with the source |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Correlation: of pixels, mean picture taken out, over the ten pictures shown; prior draws have "
            f"{told['correlation_of_prior_draws']:.2f}, which is chance.",
            "",
            f"![Premise: {SETS[name]}](../figures/premise-{name}.png)",
            "",
            f"The premise, on {premise['images']} test images: {100 * premise['passing']:.0f} % of the elements pass for N(0, 1) "
            f"(Kolmogorov-Smirnov at 1 %), distance of all elements together {premise['pooled_statistic']:.3f}. Neighbours "
            f"correlate {premise['pixels']['horizontal']:.2f} and {premise['pixels']['vertical']:.2f} in pixels, "
            f"{premise['latent']['horizontal']:.2f} and {premise['latent']['vertical']:.2f} in the latent; independent ones "
            f"would show {premise['correlation_floor']:.2f} by chance.",
            *_remark(name),
            "",
            "```bash",
            f"python studies/datasets.py {folder} --out {sets}",
            f"veilray fit dp-glow {sets}/public{suffix}{root} --out models/{name} \\",
            f"    {SHAPE[name]} --training-data public \\",
            f'    --statement "{STATEMENTS[name]}"',
            f"python studies/figures.py {name} --model models/{name} --images {sets}/private{suffix} \\",
            f"    --held-out {sets}/test{suffix}{root} --out docs/figures",
            "```",
            "",
        ]
    )


def _remark(name: str) -> list[str]:
    if name == "chest-xray":
        return ["", "Here the premise nearly holds: this is why independent noise acts evenly on an X-ray's latent."]
    return [
        "",
        "Here it does not hold at the margins: a constant background has nothing to encode, and its elements stay near zero. The "
        "claim does not rest on the premise, it rests on the bound; what suffers is how evenly the noise acts.",
    ]


def _cards() -> str:
    blocks = []
    for epsilon, unit in (("3", "element"), ("8", "image")):
        mechanism = MECHANISMS["laplace"].calibrate(Claim.of(epsilon, unit=unit), 4096)  # type: ignore[arg-type]
        blocks.append(f"```text\n{card_text(mechanism.guarantee(4096))}```\n")
    return "\n".join(
        [
            "## The cards beside them",
            "",
            "Two rows of the chest X-ray sheet, as their cards say it: per element 3, and whole image 8.",
            "",
            *blocks,
        ]
    )


if __name__ == "__main__":
    main()
