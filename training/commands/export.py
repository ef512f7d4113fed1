"""`export`: the next version of a bundle, with more formats."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from training.config import read_config
from training.data.folder import DataError
from training.data.preparation import prepare_data
from training.export.composition import compose_bundle
from training.export.conversion import Format
from training.progress import shown
from vision.bundle.store import Bundle, load_bundle, save_bundle
from vision.engines.torch_engine import load_model


def export_again(path: Path, data: Path, formats: Sequence[Format], console: Console) -> Bundle:
    """Saves the next version of a bundle, with more formats.

    Args:
        path: models/NAME/VERSION.
        data: what it was trained on.
        formats: what the new version holds besides OpenVINO's float32.
        console: where progress is shown.

    Raises:
        DataError: the data is not what the bundle was trained on, so nothing could be proved.
        SightlineError: the bundle or the data cannot be used.
    """
    bundle = load_bundle(path)
    manifest, config = bundle.manifest, read_config(bundle)
    rule, policy = config.split_rule, config.problem_files
    prepared = prepare_data(data, rule, policy, manifest.preprocessing, shown(console, "decoding"), complete=False)
    if prepared.fingerprint != manifest.provenance.data.get("sha256"):
        raise DataError(
            f"{data} is not the data that {path} was trained on; its fingerprint differs. Give that folder, unchanged."
        )
    composed = compose_bundle(
        path.parent,
        load_model(bundle),
        architecture=manifest.architecture,
        categories=manifest.categories,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        evidence=prepared.evidence(),
        formats=formats,
        config=manifest.provenance.config,
        console=console,
    )
    return load_bundle(save_bundle(path.parent.parent, *composed))
