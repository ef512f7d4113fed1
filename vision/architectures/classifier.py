"""The one shape that every network here has: a backbone that sees, and a head that names.

Fine-tuning freezes, unfreezes and replaces by these two names, so it needs to know no architecture.
"""

import torch
from torch import nn


class Classifier(nn.Module):
    """Features, then categories.

    Attributes:
        backbone: (N, C, H, W) float32 → (N, F, h, w). Its children are the blocks, from the input to the output.
        head: (N, F, h, w) → (N, classes) logits.
    """

    def __init__(self, backbone: nn.Sequential, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) normalised float32 → (N, classes) logits."""
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits


def pooled_linear_head(features: int, num_classes: int, dropout: float = 0.0) -> nn.Sequential:
    """Global average pooling, dropout and one linear layer: (N, features, h, w) → (N, num_classes)."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(features, num_classes))
