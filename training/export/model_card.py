"""MODEL_CARD.md, for people who decide whether to use a model (Mitchell et al., https://arxiv.org/abs/1810.03993)."""

import re
from collections.abc import Sequence
from typing import Any

from vision.bundle.manifest import Manifest

_MOST_LISTED = 50


def render_card(manifest: Manifest, numbers: dict[str, Any]) -> str:
    """The card as Markdown.

    Args:
        manifest: complete except for its files.
        numbers: `training.evaluation.numbers.evaluate` of the reference on the test images.
    """
    data, config = manifest.provenance.data, manifest.provenance.config
    low, high = numbers["acc@1_interval"]
    weak = sorted(numbers["categories"].items(), key=lambda item: item[1]["f1"])[:3]
    categories = _listed(manifest.categories)
    engines = [
        f"| {name} | {p.top1_agreement:.4f} | {p.max_probability_difference:.6f} | "
        f"{'may serve' if p.passed else 'refused'} |"
        for name, p in manifest.parity.items()
    ]
    lines = [
        f"# {manifest.name}/{manifest.version}",
        "",
        f"Tells {len(manifest.categories)} categories apart: {categories}. "
        "It answers with one of them for every image, "
        "also for an image of something else.",
        "",
        "## How good",
        "",
        f"On {numbers['images']} test images that were used neither for training nor for any choice:",
        "",
        "| | |",
        "|---|---|",
        f"| acc@1 | {numbers['acc@1']:.4f} (95 %: {low:.4f} to {high:.4f}) |",
        f"| macro F1 | {numbers['macro_f1']:.4f} |",
        f"| NLL | {numbers['nll']:.4f} (uncalibrated {numbers['nll_before']:.4f}) |",
        f"| Brier score | {numbers['brier']:.4f} (uncalibrated {numbers['brier_before']:.4f}) |",
        f"| expected calibration error | {numbers['ece']:.4f} (uncalibrated {numbers['ece_before']:.4f}) |",
        "",
        "Weakest categories by F1: "
        + ", ".join(f"{_escaped(name)} {row['f1']:.3f} ({row['images']} images)" for name, row in weak)
        + ".",
        "",
        "| engine | same answer as torch in float32 | largest difference of a probability | |",
        "|---|---|---|---|",
        *engines,
        "",
        "## How it was made",
        "",
        f"- {config.get('arch')}, weights {config.get('weights')}, seed {config.get('seed')}",
        f"- made {manifest.provenance.created_at:%Y-%m-%d} by `{manifest.provenance.command}`",
        f"- images: {', '.join(f'{part} {count}' for part, count in data.get('images', {}).items())}",
        f"- left out: {_listed(data.get('left_out', [])) or 'none'}",
        f"- sha256 of the images {data.get('sha256')}",
        f"- sha256 of the split {data.get('split_sha256')}",
        f"- preprocessing: {manifest.preprocessing.describe()}",
        f"- temperature {manifest.temperature:.4f}, fitted on the validation images",
        f"- {', '.join(f'{name} {value}' for name, value in manifest.provenance.code.items())}",
        "",
    ]
    return "\n".join(lines)


def _listed(names: Sequence[str]) -> str:
    """The first 50, joined with commas."""
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(_escaped(name) for name in names[:_MOST_LISTED]) + more


def _escaped(name: str) -> str:
    """A folder's name as literal text in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|&~$])", r"\\\1", name)
