"""Loads pretrained weights into a backbone: from a safetensors file, or torchvision's published weights."""

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import hub

from vision.architectures.backbones import PublishedWeights, published_weights
from vision.architectures.classifier import Classifier
from vision.architectures.registry import Architecture, architecture
from vision.errors import SightlineError
from vision.preprocessing import Preprocessing

SHIPPED = Path(__file__).parents[1] / "weights"
"""The folder of weights that come with this package."""
NONE = "none"
IMAGENET = "imagenet"


class WeightsError(SightlineError):
    """The pretrained weights cannot be loaded, or do not fit the backbone."""

    code = "weights_error"


def published(arch: str, weights: str) -> PublishedWeights | None:
    """Weights of torchvision by name: `imagenet` for the best, or e.g. `IMAGENET1K_V1`; None for a file or `none`.

    Raises:
        WeightsError: torchvision has no such weights for this architecture.
    """
    if weights == NONE or weights.endswith(".safetensors"):
        return None
    name = architecture(arch).published
    if name is None:
        raise WeightsError(f"There are no published weights for {arch}; use --weights none, or a .safetensors file.")
    try:
        return published_weights(name, "DEFAULT" if weights == IMAGENET else weights)
    except ValueError as error:
        raise WeightsError(f"--weights {weights}: {error} Or name a .safetensors file, imagenet, or none.") from error


def default_preprocessing(arch: str, weights: str) -> Preprocessing:
    """The preprocessing of the weights, else the architecture's own."""
    found = published(arch, weights)
    return found.preprocessing if found else architecture(arch).preprocessing


def load_backbone(model: Classifier, arch: str, weights: str) -> None:
    """Loads the backbone's weights; the head keeps its own. `none` does nothing.

    Args:
        model: built by `build_model(arch, …)`.
        arch: its name in the registry.
        weights: `none`; a safetensors file of this project's network (`backbone.…`) or of torchvision's, whose head is
            ignored; `imagenet` or another name of torchvision's weights, which are downloaded once and kept.

    Raises:
        WeightsError: no such file, no safetensors file, no network, or names or shapes that do not fit.
    """
    if weights == NONE:
        return
    source = published(arch, weights)
    tensors = _fetch(source) if source else _read(weights_file(weights))
    _fill(model, architecture(arch), tensors, source.url if source else weights)


def weights_file(weights: str) -> Path:
    """The file of weights that are named by a path, or by the name of a file in SHIPPED."""
    given, shipped = Path(weights), SHIPPED / weights
    return shipped if not given.exists() and shipped.is_file() else given


def _read(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file} cannot be read as safetensors: {error}") from error


def _fetch(source: PublishedWeights) -> dict[str, torch.Tensor]:
    """From torch's cache, else from the network. Loads tensors only, from a file whose hash is in its name."""
    file = Path(hub.get_dir()) / "checkpoints" / Path(urlparse(source.url).path).name
    try:
        tensors: dict[str, torch.Tensor] = hub.load_state_dict_from_url(
            source.url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except Exception as error:  # no network, a full disk, a damaged file: the remedy is the same
        raise WeightsError(
            f"The weights {source.name} ({source.size_mb:.0f} MB) could not be downloaded: "
            f"{str(error).splitlines()[0]}. "
            f"Download {source.url} on a machine with internet access and copy it to {file}."
        ) from error
    return tensors


def _fill(model: Classifier, row: Architecture, tensors: dict[str, torch.Tensor], where: str) -> None:
    wanted = model.backbone.state_dict()
    # A file names the backbone's tensors as this project does, or as torchvision's networks do.
    spellings: tuple[Callable[[str], str], ...] = ("backbone.{}".format, row.torchvision_name)
    for spell in spellings:
        given = {name: tensors[spell(name)] for name in wanted if spell(name) in tensors}
        if given.keys() == wanted.keys():
            break
    else:
        missing = next(name for name in wanted if name not in given)
        raise WeightsError(f"{where} holds no weights for this backbone: it has no tensor {spell(missing)!r}.")
    for name, tensor in wanted.items():
        if given[name].shape != tensor.shape:
            raise WeightsError(
                f"{where}: {spell(name)} has shape {tuple(given[name].shape)}; "
                f"the backbone needs {tuple(tensor.shape)}."
            )
        if not torch.isfinite(given[name]).all():
            raise WeightsError(f"{where}: {spell(name)} holds values that are not finite.")
    model.backbone.load_state_dict(given)
