"""What every peer serves: torchvision's network with the benchmark's weights, behind torchvision's own preset.

Peers run in environments of their own and import nothing of Sightline's.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn
from torchvision import models
from torchvision.transforms._presets import ImageClassification

MAX_BATCH_SIZE = 16  # peers/mlserver/model-settings.json says the same
BATCH_TIMEOUT_S = 0.01


def load_network() -> tuple[nn.Module, ImageClassification, list[str]]:
    """The network in eval mode, PIL image → (3, 224, 224) float32, and the labels of its outputs."""
    folder = Path(os.environ["BENCH_MODEL"])
    facts = json.loads((folder / "network.json").read_text())
    network = models.get_model(facts["arch"], weights=None, num_classes=len(facts["labels"]))
    network.load_state_dict(load_file(folder / "network.safetensors"))
    return network.eval(), ImageClassification(crop_size=224, resize_size=256), facts["labels"]


def top_5(logits: torch.Tensor, labels: list[str]) -> list[list[dict[str, Any]]]:
    """(N, classes) → for each image its five best labels with their probabilities."""
    scores, indices = logits.softmax(-1).topk(5)
    return [
        [{"label": labels[index], "score": score} for score, index in zip(*row, strict=True)]
        for row in zip(scores.tolist(), indices.tolist(), strict=True)
    ]
