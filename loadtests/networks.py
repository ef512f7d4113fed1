"""The networks that the benchmark serves, made without a download: random weights, and a head that tells the photos apart.

Speed does not depend on the weights, but answers must differ from photo to photo. So BatchNorm's statistics are taken from the
photos, residual branches are damped, and the head tells groups of photos apart. That survives bfloat16; int8, which networks
that were trained pass, agrees on 94 % of the photos only (MobileNetV2) and is refused, so that float32 serves.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from safetensors.torch import save_file
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
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
_GROUPS = 5  # of which answers come; the other classes are never probable
_DIMENSIONS = 3
_BRANCH = 0.1  # what a residual branch is multiplied by
_SURENESS = 1.0  # logits between the best and the second group of the median photo
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
    categories = [f"group {index}" if index < _GROUPS else f"class {index}" for index in range(CLASSES)]
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
        features = torch.cat([model.backbone(batch) for batch in inputs]).double().numpy()
    _set_head(model, features)
    return model


def _set_head(model: Classifier, features: npt.NDArray[np.float64]) -> None:
    """Nearest of _GROUPS centres, as a linear layer: logit k is -sharpness · ‖z - centre k‖², without what all share."""
    main = PCA(_DIMENSIONS, random_state=0).fit(features)
    places = main.transform(features)
    centres = KMeans(_GROUPS, n_init=10, random_state=0).fit(places).cluster_centers_
    apart = np.square(places[:, None] - centres[None]).sum(2)
    nearest = np.sort(apart, axis=1)
    sharpness = _SURENESS / np.median(nearest[:, 1] - nearest[:, 0])
    weight = 2 * sharpness * centres @ main.components_
    bias = -sharpness * np.square(centres).sum(1) - weight @ main.mean_
    last = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(-1e4)
        last.weight[:_GROUPS] = torch.from_numpy(weight).float()
        last.bias[:_GROUPS] = torch.from_numpy(bias).float()


def _by_torchvisions_names(model: Classifier, arch: str) -> dict[str, torch.Tensor]:
    backbone = model.backbone.state_dict()
    head = [module for module in model.head.modules() if isinstance(module, nn.Linear)][-1]
    names = models.get_model(arch, weights=None, num_classes=CLASSES).state_dict()
    last = {name: getattr(head, name.rpartition(".")[2]).detach() for name in names if name not in backbone}
    return {name: tensor.contiguous() for name, tensor in (backbone | last).items()}
