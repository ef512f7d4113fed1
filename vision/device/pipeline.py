"""Upload, geometry and network of batches, two at a time, each in a stream of its own.

On CUDA a lane copies a batch from pinned memory, resizes it and replays the network as one graph. A second lane does
the same at the same time, so that copying, resizing and inferring overlap. The CPU runs the same arithmetic, for tests
only.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from vision.device.resampling import squares
from vision.geometry import Geometry, Placement

Pixels = npt.NDArray[np.uint8]
# Source pixels, and weights of an axis, at a time: 16 million pixels take 100 MB as float16, as many weights 134 MB as
# float64.
MAX_PIXELS = 2**24
_WARMINGS = 3  # runs before a graph is captured, https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs


@dataclass(frozen=True)
class Placed:
    """A decoded image and where it goes in the square.

    Attributes:
        pixels: uint8 (H, W, 3), upright RGB.
        placement: from `vision.geometry.place`.
    """

    pixels: Pixels
    placement: Placement

    @property
    def box(self) -> Pixels:
        """The pixels that are read."""
        left, top, right, bottom = self.placement.box
        return self.pixels[top:bottom, left:right]


class DevicePipeline:
    """uint8 images → float32 logits. May be called from several threads.

    Args:
        network: uint8 (N, crop_px, crop_px, channels) → (N, classes), on the device, in eval mode.
        geometry: how images are resized and cropped.
        device: `cuda`, or `cpu`, which has one lane and no graphs.
        max_batch_size: most images that run at a time, a power of two; a larger batch is split.
        lanes: batches that run at a time.
    """

    def __init__(
        self, network: nn.Module, geometry: Geometry, device: str, max_batch_size: int, lanes: int = 2
    ) -> None:
        self._max_batch_size = max_batch_size
        self._lanes = [Lane(network, geometry, device, max_batch_size) for _ in range(lanes if device == "cuda" else 1)]
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in self._lanes:
            self._free.put(lane)

    def classify(self, images: Sequence[Placed]) -> npt.NDArray[np.float32]:
        """Images of any sizes, at least one → (N, classes).

        A batch that does not fit into the device's memory is run again in halves.

        Raises:
            torch.OutOfMemoryError: not even one image fits.
        """
        return self._in_parts(images, Lane.classify)

    def infer(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """As `classify`, for images (crop_px, crop_px, channels) that have been through the geometry."""
        return self._in_parts(images, Lane.infer)

    def warm(self, size: int) -> None:
        """Prepares every lane for batches of `size`, a power of two. Nothing else may run meanwhile."""
        for lane in self._lanes:
            lane.warm(size)

    def _in_parts(
        self, images: Sequence[Any], run: "Callable[[Lane, Sequence[Any]], npt.NDArray[np.float32]]"
    ) -> npt.NDArray[np.float32]:
        size, answers = self._max_batch_size, []
        left = images
        while len(left):
            part = left[:size]
            try:
                with self._lane() as lane:
                    answers.append(run(lane, part))
            except torch.OutOfMemoryError:
                if len(part) == 1:
                    raise
                size = len(part) // 2
                torch.cuda.empty_cache()  # frees the fragments that other sizes left
                continue
            left = left[len(part) :]
        return np.concatenate(answers)

    @contextlib.contextmanager
    def _lane(self) -> "Iterator[Lane]":
        lane = self._free.get()
        try:
            yield lane
        finally:
            self._free.put(lane)


class Lane:
    """One stream with its buffers, for one batch at a time. The arguments are those of `DevicePipeline`."""

    @torch.inference_mode()
    def __init__(self, network: nn.Module, geometry: Geometry, device: str, max_batch_size: int) -> None:
        self._network = network
        self._geometry = geometry
        self._device = device
        side = geometry.crop_px
        # Not filled: that would happen in another stream.
        self._squares = torch.empty((max_batch_size, side, side, geometry.channels), dtype=torch.uint8, device=device)
        self._cuda = device == "cuda"
        self._stream = torch.cuda.Stream() if self._cuda else None  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle() if self._cuda else None
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, torch.Tensor]] = {}

    def classify(self, images: Sequence[Placed]) -> npt.NDArray[np.float32]:
        """At most max_batch_size images of any sizes → (N, classes) logits."""
        with self._in_stream():
            self.resize(images)
            return self.run(len(images)).cpu().numpy()

    def infer(self, images: Sequence[Pixels]) -> npt.NDArray[np.float32]:
        """At most max_batch_size images that are squares already → (N, classes) logits."""
        with self._in_stream(), torch.inference_mode():
            self._squares[: len(images)] = self._uploaded(images)
            return self.run(len(images)).cpu().numpy()

    @torch.inference_mode()
    def resize(self, images: Sequence[Placed]) -> None:
        """Resizes the images into the first squares of this lane."""
        with self._in_stream():
            start = 0
            for part in _parts(images, self._geometry.crop_px):
                pixels = self._uploaded([image.box for image in part])
                self._squares[start : start + len(part)] = squares(
                    pixels, self._geometry, [image.placement for image in part]
                )
                start += len(part)

    @torch.inference_mode()
    def run(self, count: int) -> torch.Tensor:
        """float32 (count, classes) logits of the first squares, on the device.

        The network runs a batch of a power of two; the rest of it holds images of earlier batches.
        """
        size = 1 << (count - 1).bit_length()
        with self._in_stream():
            if size not in self._graphs:
                logits: torch.Tensor = self._network(self._squares[:size])
            else:
                graph, logits = self._graphs[size]
                graph.replay()
            return logits[:count].float()

    @torch.inference_mode()
    def warm(self, size: int) -> None:
        """Runs a batch of this size. On CUDA it is captured as a graph, which saves launching each kernel."""
        given = self._squares[:size]
        if self._stream is None:
            self._network(given)
            return
        with self._in_stream():
            for _ in range(_WARMINGS):
                self._network(given)
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                logits = self._network(given)
        self._graphs[size] = graph, logits

    def _in_stream(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    def _uploaded(self, images: Sequence[Pixels]) -> torch.Tensor:
        """uint8 (N, H, W, C) with the largest height and width: each image in the upper left corner."""
        height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
        # torch keeps freed pinned memory and reuses it once the copy out of it is done.
        host = torch.empty((len(images), height, width, images[0].shape[2]), dtype=torch.uint8, pin_memory=self._cuda)
        rows = host.numpy()
        for row, image in zip(rows, images, strict=True):
            row[: image.shape[0], : image.shape[1]] = image
        return host.to(self._device, non_blocking=True)


def _parts(images: Sequence[Placed], side: int) -> Iterator[Sequence[Placed]]:
    """Splits images, in order, into parts that stay within MAX_PIXELS when padded to their largest image.

    Args:
        images: any number.
        side: pixels of the squares that they become; an axis of a batch takes N × side × its longest side weights.
    """
    start = height = width = 0
    for index, image in enumerate(images):
        height, width = max(height, image.box.shape[0]), max(width, image.box.shape[1])
        if index > start and (index + 1 - start) * max(height * width, side * height, side * width) > MAX_PIXELS:
            yield images[start:index]
            start, height, width = index, *image.box.shape[:2]
    yield images[start:]
