"""`python -m loadtests.studies.engine --device cuda`: decoding, resizing and inferring on a device, without a server.

For decision 15. Needs torch, torchvision, Pillow and NumPy only. Each network of torchvision recognises the photos
(`loadtests.bench.teaching`). It runs in float16 through `vision.device`, and for comparison in float32 in plain
PyTorch. Pillow decodes, with one thread per core. Rows are images/s: `resize` from decoded images in host memory to
squares on the device, `infer` from squares to logits, `both` from decoded images to logits in host memory with two
lanes, `all` from encoded images. Parity is measured against torchvision's transforms and float32 on the CPU. The last
line is JSON.
"""

import argparse
import io
import json
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import nn
from torchvision import models, transforms

from loadtests.bench.teaching import teach
from loadtests.rendering import render_all
from vision.device.network import ReducedNetwork
from vision.device.pipeline import DevicePipeline, Lane, Placed
from vision.geometry import place

_ARCHS = ["resnet50", "efficientnet_b0", "mobilenet_v2"]
_BATCHES = [1, 2, 4, 8, 16, 32, 64, 128, 256]
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's presets have them
_COLUMNS = ("decode", "resize", "infer", "both", "all", "eager")


@dataclass(frozen=True)
class _ImageNet:
    """torchvision's preset for ImageNet."""

    policy: Literal["crop"] = "crop"
    resize_px: int = 256
    crop_px: int = 224
    interpolation: Literal["bilinear"] = "bilinear"
    antialias: bool = True
    channels: Literal[3] = 3
    fill: int = 0


_GEOMETRY = _ImageNet()
_REFERENCE = transforms.Compose(
    [transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)]
)


class _Normalise(nn.Module):
    """uint8 (N, H, W, 3) → float32 (N, 3, H, W)."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.studies.engine", description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    parser.add_argument(
        "--archs", type=lambda text: text.split(","), default=_ARCHS, help="torchvision's names, joined with commas"
    )
    parser.add_argument(
        "--batches", type=lambda text: [int(size) for size in text.split(",")], default=_BATCHES, help="powers of two"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="a figure (default: 2)")
    parser.add_argument("--photos", type=Path, help="a folder of photos (default: rendered)")
    parsed = parser.parse_args()
    files = (
        list(render_all().values())
        if parsed.photos is None
        else [file.read_bytes() for file in sorted(parsed.photos.iterdir())]
    )
    if parsed.device == "cuda":
        torch.backends.cudnn.benchmark = True
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        images = list(threads.map(_decoded, files))
        report: dict[str, Any] = {"machine": _machine(parsed.device), "photos": len(files), "rows": [], "parity": {}}
        for arch in parsed.archs:
            reference, network = _networks(arch, files, parsed.device)
            report["parity"][arch] = parity = _parity(reference, network, files, images, parsed.device)
            print(
                f"{arch}: top-1 agreement {parity['agreement']:.4f}, "
                f"largest difference of a probability {parity['difference']:.4f}",
                flush=True,
            )
            eager = reference.to(parsed.device, memory_format=torch.contiguous_format)  # type: ignore[call-overload]
            print(
                f"{arch:>16}  batch "
                + "".join(f"{name:>10}" for name in _COLUMNS)
                + "  resize's share  both ÷ infer  infer ÷ eager"
            )
            for batch in parsed.batches:
                row = _measure(network, eager, files, images, batch, parsed, threads)
                report["rows"].append({"arch": arch, "batch": batch} | row)
                rates = "".join(f"{row[name]:>10.0f}" for name in _COLUMNS)
                overlap, speedup = row["both"] / row["infer"], row["infer"] / row["eager"]
                ratios = f"{row['resize_share']:>15.2f}{overlap:>14.2f}{speedup:>15.2f}"
                print(f"{arch:>16}{batch:>7}{rates}{ratios}", flush=True)
    print(json.dumps(report))


def _decoded(data: bytes) -> Placed:
    pixels = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    return Placed(pixels, place(_GEOMETRY, pixels.shape[1], pixels.shape[0]))


def _networks(arch: str, files: list[bytes], device: str) -> tuple[nn.Module, nn.Module]:
    """float32 on the CPU, which takes normalised photos; and float16 on the device, which takes squares."""
    torch.manual_seed(0)
    model = models.get_model(arch, weights=None)
    teach(model, _inputs(files))
    reduced = models.get_model(arch, weights=None).eval()
    reduced.load_state_dict(model.state_dict())
    return model, ReducedNetwork(_Normalise(), reduced, torch.float16).eval().to(device)


def _inputs(files: list[bytes]) -> tuple[torch.Tensor, ...]:
    tensors = [_REFERENCE(Image.open(io.BytesIO(data)).convert("RGB")) for data in files]
    return torch.split(torch.stack(tensors), 16)


@torch.inference_mode()
def _parity(
    reference: nn.Module, network: nn.Module, files: list[bytes], images: list[Placed], device: str
) -> dict[str, float]:
    expected = torch.cat([reference(batch) for batch in _inputs(files)]).softmax(1).numpy()
    got = torch.from_numpy(DevicePipeline(network, _GEOMETRY, device, 16).classify(images)).softmax(1).numpy()
    return {
        "agreement": float((got.argmax(1) == expected.argmax(1)).mean()),
        "difference": float(np.abs(got - expected).max()),
    }


def _measure(
    network: nn.Module,
    eager: nn.Module,
    files: list[bytes],
    images: list[Placed],
    batch: int,
    parsed: argparse.Namespace,
    threads: ThreadPoolExecutor,
) -> dict[str, float]:
    encoded, decoded = list(islice(cycle(files), batch)), list(islice(cycle(images), batch))
    lane = Lane(network, _GEOMETRY, parsed.device, batch)
    pipeline = DevicePipeline(network, _GEOMETRY, parsed.device, batch)
    normalised = torch.zeros((batch, 3, 224, 224), device=parsed.device)
    for warmed in (lane, pipeline):
        warmed.warm(batch)

    def sync() -> None:
        if parsed.device == "cuda":
            torch.cuda.synchronize()

    def twice(work: Callable[[int], Any]) -> Callable[[], object]:
        """Runs two at a time, as two workers of the service would."""
        return lambda: list(pair.map(work, range(2)))

    def rate(work: Callable[[], Any], count: int) -> float:
        for _ in range(2):
            work()
        sync()
        done, started = 0, time.perf_counter()
        while (now := time.perf_counter()) < started + parsed.seconds:
            work()
            done += count
            sync()
        return done / (now - started)

    with ThreadPoolExecutor(2) as pair, torch.inference_mode():
        row = {
            "decode": rate(lambda: list(threads.map(_decoded, encoded)), batch),
            "resize": rate(lambda: lane.resize(decoded), batch),
            "infer": rate(lambda: lane.run(batch), batch),
            "both": rate(twice(lambda _: pipeline.classify(decoded)), 2 * batch),
            "all": rate(twice(lambda _: pipeline.classify(list(threads.map(_decoded, encoded)))), 2 * batch),
            "eager": rate(lambda: eager(normalised), batch),
        }
    return row | {"resize_share": row["infer"] / (row["resize"] + row["infer"])}


def _machine(device: str) -> str:
    what = torch.cuda.get_device_name() if device == "cuda" else "CPU only"
    return (
        f"{what}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main()
