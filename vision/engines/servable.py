"""Normalisation and network in one torch module: what every engine runs."""

import torch
from torch import nn

from vision.architectures.classifier import Classifier
from vision.preprocessing import Preprocessing


class Normalisation(nn.Module):
    """`Preprocessing.normalise` in torch: uint8 (N, H, W, C) → float32 (N, C, H, W), on the device of its buffers."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        std = torch.tensor(preprocessing.std, dtype=torch.float64)
        mean = torch.tensor(preprocessing.mean, dtype=torch.float64)
        # (values * scale - mean) / std as one multiply-add; combined in float64 so that no bits are lost.
        self.register_buffer("scale", (preprocessing.scale / std).float().view(1, -1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).float().view(1, -1, 1, 1), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 (N, H, W, C) → float32 (N, C, H, W), channels last in memory as it came."""
        return images.permute(0, 3, 1, 2).float() * self.scale + self.shift


class Servable(nn.Module):
    """Normalisation and network: uint8 (N, H, W, C) → float32 (N, classes) logits."""

    def __init__(self, model: Classifier, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.normalisation = Normalisation(preprocessing)
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalises, then classifies."""
        logits: torch.Tensor = self.model(self.normalisation(images))
        return logits
