"""A network in half precision, after normalisation in full precision."""

import torch
from torch import nn


class ReducedNetwork(nn.Module):
    """uint8 (N, H, W, C) → float32 logits, with weights of fewer bits.

    Args:
        normalisation: uint8 (N, H, W, C) → float32 (N, C, H, W).
        network: (N, C, H, W) → (N, classes); converted in place.
        dtype: of its weights.
    """

    def __init__(self, normalisation: nn.Module, network: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.network = network.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dtype = dtype

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalises in float32, then classifies."""
        logits: torch.Tensor = self.network(self.normalisation(images).to(self._dtype))
        return logits.float()
