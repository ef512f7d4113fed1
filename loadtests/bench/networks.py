"""The networks of the benchmark on disk: torchvision's files for the peers, a bundle for Sightline."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from loadtests.bench.teaching import teach
from training.data.images import ImageSet
from training.data.preparation import Evidence
from training.export.composition import compose_bundle
from vision.architectures.classifier import Classifier
from vision.architectures.registry import build_model
from vision.bundle.manifest import ArchitectureEntry
from vision.bundle.store import save_bundle
from vision.engines.servable import Normalisation, Servable
from vision.image import DecodeLimits, Pixels, decode
from vision.preprocessing import Preprocessing

CLASSES = 1000  # as ImageNet's networks have
_ARGUMENTS = {"head": "linear"}  # as torchvision has it
PREPROCESSING = Preprocessing.imagenet()
_BATCH = 31


@dataclass(frozen=True)
class Network:
    """One network on disk.

    Attributes:
        arch: its name, here and in torchvision.
        folder: network.json and network.safetensors, by torchvision's names, for the peers; expected.json: each photo's
            best label and its score.
        bundle: models/NAME/1 with the same weights, for Sightline.
    """

    arch: str
    folder: Path
    bundle: Path


def prepare(arch: str, photos: dict[str, bytes], cache: Path, console: Console) -> Network:
    """Makes the network, or finds it in the cache."""
    folder = cache / arch
    network = Network(arch, folder, folder / "models" / arch.replace("_", "-") / "1")
    if network.bundle.exists():
        return network
    console.print(f"Making {arch} with random weights…")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, data in photos.items():
        files.append(folder / "photos" / name)
        files[-1].parent.mkdir(exist_ok=True)
        files[-1].write_bytes(data)
    images = np.stack([PREPROCESSING.apply(decode(data, DecodeLimits()).pixels) for data in photos.values()])
    model = _fitted(arch, images)
    categories = [f"photo {index}" if index < len(images) else f"class {index}" for index in range(CLASSES)]
    save_file(_by_torchvisions_names(model, arch), folder / "network.safetensors")
    (folder / "network.json").write_text(json.dumps({"arch": arch, "labels": categories}))
    with torch.inference_mode():
        scores = torch.cat([Servable(model, PREPROCESSING)(torch.from_numpy(image[None])) for image in images]).softmax(
            1
        )
    best = [[categories[int(row.argmax())], float(row.max())] for row in scores]
    (folder / "expected.json").write_text(json.dumps(best))
    labels = scores.argmax(1).numpy()
    everything = ImageSet(images, labels)
    composed = compose_bundle(
        network.bundle.parent,
        model,
        architecture=ArchitectureEntry(name=arch, arguments=_ARGUMENTS),
        categories=categories,
        preprocessing=PREPROCESSING,
        temperature=1.0,
        evidence=Evidence(everything, everything, everything, files, {"images": {"photos": len(images)}}),
        formats=["int8"],
        config={},
        console=console,
    )
    save_bundle(network.bundle.parent.parent, *composed)
    return network


def _fitted(arch: str, images: Pixels) -> Classifier:
    torch.manual_seed(0)
    model = build_model(arch, CLASSES, **_ARGUMENTS).to(memory_format=torch.channels_last)
    teach(model, Normalisation(PREPROCESSING)(torch.from_numpy(images)).split(_BATCH))
    return model


def _by_torchvisions_names(model: Classifier, arch: str) -> dict[str, torch.Tensor]:
    backbone = model.backbone.state_dict()
    head = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    names = models.get_model(arch, weights=None, num_classes=CLASSES).state_dict()
    last = {name: getattr(head, name.rpartition(".")[2]).detach() for name in names if name not in backbone}
    return {name: tensor.contiguous() for name, tensor in (backbone | last).items()}
