"""The networks that the benchmark serves, made without a download: random weights, and a head that knows each photo.

Speed does not depend on the weights, but answers must differ from photo to photo, and as surely as those of a network that was
trained, or int8 would be refused. So BatchNorm's statistics are taken from the photos, residual branches are damped, and the
head has a class for every photo.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import nn
from torchvision import models
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import Bottleneck

from training.datasets import ImageSet
from training.export import Evidence, compose_bundle
from vision.architectures import build_model
from vision.architectures.classifier import Classifier
from vision.bundle.manifest import ArchitectureEntry
from vision.bundle.store import save_bundle
from vision.engines.servable import Normalisation, Servable
from vision.image import DecodeLimits, Pixels, decode
from vision.preprocessing import Preprocessing

CLASSES = 1000  # as ImageNet's networks have
_ARGUMENTS = {"head": "linear"}  # as torchvision has it
_BRANCH = 0.1  # what a residual branch is multiplied by
_SURENESS = 12.0  # logits between the median photo and the one that resembles it most; at 8 int8's probabilities differed by 0.14
PREPROCESSING = Preprocessing.imagenet()
_BATCH = 31


@dataclass(frozen=True)
class Network:
    """One network on disk.

    Attributes:
        arch: its name, here and in torchvision.
        folder: network.json and network.safetensors, by torchvision's names, for the peers; expected.json: each photo's best label
            and its score.
        bundle: models/NAME/1 of the same weights, for us.
    """

    arch: str
    folder: Path
    bundle: Path


def prepare(arch: str, photos: dict[str, bytes], cache: Path, console: Console) -> Network:
    """Makes the network, or finds it where it was made before."""
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
    images = np.stack([PREPROCESSING.apply(decode(data, DecodeLimits())) for data in photos.values()])
    model = _fitted(arch, images)
    categories = [f"photo {index}" if index < len(images) else f"class {index}" for index in range(CLASSES)]
    save_file(_by_torchvisions_names(model, arch), folder / "network.safetensors")
    (folder / "network.json").write_text(json.dumps({"arch": arch, "labels": categories}))
    with torch.inference_mode():
        scores = torch.cat([Servable(model, PREPROCESSING)(torch.from_numpy(image[None])) for image in images]).softmax(1)
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
    model = build_model(arch, CLASSES, **_ARGUMENTS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = Normalisation(PREPROCESSING)(torch.from_numpy(images)).split(_BATCH)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None  # the mean over all batches
    with torch.inference_mode():
        for block in model.modules():
            if isinstance(block, Bottleneck):
                block.bn3.weight.fill_(_BRANCH)
            elif isinstance(block, InvertedResidual) and block.use_res_connect:
                block.conv[-1].weight.fill_(_BRANCH)
        model.train()
        for batch in inputs:
            model.backbone(batch)
        model.eval()
        _set_head(model, torch.cat([model.backbone(batch) for batch in inputs]).double())
    return model


def _set_head(model: Classifier, features: torch.Tensor) -> None:
    """The nearest photo, as a linear layer: logit k is -sharpness · ‖z - features[k]‖², without what all share.

    Args:
        model: its head is set, in place.
        features: (photos, features), float64; at most CLASSES photos. No photo has the classes beyond them.
    """
    nearest = torch.cdist(features, features).square().fill_diagonal_(torch.inf).amin(1)
    sharpness = _SURENESS / float(nearest.median())
    last = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    last.weight.zero_()
    last.bias.fill_(-1e4)
    last.weight[: len(features)] = 2 * sharpness * features.float()
    last.bias[: len(features)] = -sharpness * features.square().sum(1).float()


def _by_torchvisions_names(model: Classifier, arch: str) -> dict[str, torch.Tensor]:
    backbone = model.backbone.state_dict()
    head = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    names = models.get_model(arch, weights=None, num_classes=CLASSES).state_dict()
    last = {name: getattr(head, name.rpartition(".")[2]).detach() for name in names if name not in backbone}
    return {name: tensor.contiguous() for name, tensor in (backbone | last).items()}
