"""Taps on the network in torch, by hooks: for bundles without OpenVINO's format, and beside a GPU."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vision.bundle.store import Bundle
from vision.engines.servable import Servable
from vision.engines.taps import FirstLayer, LinearHead, Observation, as_padding
from vision.engines.torch_engine import load_model
from vision.explanation import is_exact
from vision.image import Pixels


class TorchTaps:
    """Float32 on the CPU.

    Args:
        bundle: verified.
        threads: for one inference; torch has one such setting for the whole process.
    """

    description = "torch-f32"

    def __init__(self, bundle: Bundle, threads: int) -> None:
        torch.set_num_threads(threads)
        self._servable = Servable(load_model(bundle), bundle.manifest.preprocessing).eval()
        self.head: LinearHead | None = _linear_head(self._servable.model.head)
        self._entered: torch.Tensor | None = None
        self._watching = False
        norms = (module for module in self._servable.modules() if isinstance(module, nn.LayerNorm))
        self._widths = {norm.normalized_shape[-1] for norm in norms}
        self._maps: list[torch.Tensor] = []
        self._convolution = next(
            (module for module in self._servable.model.backbone.modules() if isinstance(module, nn.Conv2d)), None
        )
        self.first: FirstLayer | None = None
        for module in self._servable.model.backbone.modules():
            module.register_forward_hook(self._keep)
        side = bundle.manifest.preprocessing.crop_px
        if self._convolution is not None:
            self.first = _first_layer(self._convolution, side)
        probe = np.random.default_rng(0).integers(0, 256, bundle.manifest.preprocessing.shape, dtype=np.uint8)
        if not is_exact(self, [probe]):  # a head of one layer, but not behind the mean of maps
            self.head = None

    def infer(self, images: Pixels) -> npt.NDArray[np.float32]:
        """(N, H, W, C) uint8 → (N, classes) logits."""
        with torch.inference_mode():
            logits: npt.NDArray[np.float32] = self._servable(torch.from_numpy(np.array(images))).numpy()
        return logits

    def observe(self, image: Pixels) -> Observation:
        """(H, W, C) uint8 → everything that the taps show."""
        self._maps.clear()
        self._watching = True
        try:
            logits = self.infer(image[None])[0]
        finally:
            self._watching = False
        by_size = {tuple(maps.shape[2:]): maps for maps in self._maps if maps.shape[2:] != (1, 1)}
        stages = [maps[0].numpy() for maps in by_size.values()]
        last = stages[-1] if stages and self.head is not None else None
        if last is not None and self.head is not None and len(last) != self.head.weights.shape[1]:
            last = None
        if self.first is None or self._entered is None or self._convolution is None:
            return Observation(logits, None, None, None, last, stages)
        with torch.inference_mode():
            convolved = self._convolution.forward(self._entered)[0].numpy()
        return Observation(logits, self._entered[0].numpy(), convolved, convolved, last, stages)

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if not self._watching:
            return
        if module is self._convolution:
            self._entered = inputs[0]
        if isinstance(output, torch.Tensor) and output.ndim == 4 and _gives_maps(module):
            if output.shape[3] in self._widths:  # the channels are last, for a layer norm
                return
            self._maps.append(output)


def _gives_maps(module: nn.Module) -> bool:
    """Whether a module convolves or normalises maps, itself or inside."""
    return any(isinstance(one, nn.Conv2d | nn.BatchNorm2d) for one in module.modules())


def _first_layer(convolution: nn.Conv2d, side: int) -> FirstLayer | None:
    """The first convolution; None if it is grouped or dilated, or padded or strided differently by side."""
    pads, strides, sides = convolution.padding, set(convolution.stride), set(convolution.kernel_size)
    if isinstance(pads, str) or convolution.groups != 1 or convolution.dilation != (1, 1):
        return None
    if len(strides) != 1 or len(sides) != 1 or convolution.padding_mode != "zeros":
        return None
    around = (int(pads[0]), int(pads[1]))
    padding = as_padding(around, around, (side, side), min(sides), min(strides))
    if padding is None:
        return None
    kernels = convolution.weight.detach().numpy()
    bias = np.zeros(len(kernels), np.float32) if convolution.bias is None else convolution.bias.detach().numpy()
    return FirstLayer(kernels, bias, min(strides), padding, "")


def _linear_head(head: nn.Module) -> LinearHead | None:
    """The head's numbers; None if it has more than one layer."""
    layers = [module for module in head.modules() if any(True for _ in module.parameters(recurse=False))]
    if len(layers) != 1 or not isinstance(layers[0], nn.Linear):
        return None
    layer = layers[0]
    bias = np.zeros(layer.out_features, np.float32) if layer.bias is None else layer.bias.detach().numpy()
    return LinearHead(layer.weight.detach().numpy(), bias)
