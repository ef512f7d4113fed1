"""The structure that all networks here share: a backbone that computes features, and a head that classifies them.

Fine-tuning freezes and replaces these two parts by name, so it does not depend on the architecture.
"""

from collections.abc import Sequence

import torch
from torch import nn


class Classifier(nn.Module):
    """A backbone followed by a head.

    Args:
        backbone: (N, C, H, W) float32 → (N, features).
        head: (N, features) → (N, classes) logits.
        blocks: the parts of the backbone that can be unfrozen one by one, from input to output. By default its children
            that hold parameters.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, blocks: Sequence[nn.Module] | None = None) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.blocks = tuple(blocks or (child for child in backbone.children() if holds_parameters(child)))

    @property
    def layers(self) -> tuple[nn.Module, ...]:
        """The backbone's modules with parameters of their own (convolution, dense, norm), from input to output."""
        return tuple(
            module for module in self.backbone.modules() if any(True for _ in module.parameters(recurse=False))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) normalised float32 → (N, classes) logits."""
        logits: torch.Tensor = self.head(self.backbone(images))
        return logits


def holds_parameters(module: nn.Module) -> bool:
    """Whether the module holds any parameter."""
    return any(True for _ in module.parameters())


def linear_head(features: int, num_classes: int, dropout: float = 0.2) -> nn.Sequential:
    """Dropout and one linear layer: (N, features) → (N, num_classes)."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(features, num_classes))


def hidden_layer_head(features: int, num_classes: int, dropout: float = 0.5) -> nn.Sequential:
    """256 → ReLU → dropout → classes: (N, features) → (N, num_classes)."""
    return nn.Sequential(nn.Linear(features, 256), nn.ReLU(), nn.Dropout(dropout), nn.Linear(256, num_classes))


def global_average() -> list[nn.Module]:
    """(N, F, h, w) → (N, F)."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
