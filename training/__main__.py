"""`python -m training`, and training's part of `sightline`. Imports nothing heavy before a command runs."""

import argparse
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vision.command_line import Command, run_command
from vision.errors import SightlineError

if TYPE_CHECKING:
    from rich.console import Console


# Packages of the extra `training`; those that come only with it, or with `gpu` as well.
_NEEDED = ("torch", "sklearn")


class NotInstalled(SightlineError):
    """The packages that training needs are not installed."""

    code = "not_installed"


def _demo(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.demo import pretrain, run_demo

    if parsed.pretrain:
        pretrain(console)
    else:
        bundle = run_demo(parsed.out, parsed.seeds, parsed.budget, console)
        console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _scan(parsed: argparse.Namespace, console: "Console") -> int:
    from training.config import load_config
    from training.data.preparation import scan_data
    from training.data.report import print_report, write_report
    from training.options import overrides
    from training.progress import shown

    config = load_config(None, overrides(parsed))
    report = scan_data(parsed.data, config.split_rule, config.problem_files, shown(console, "reading"))
    print_report(report, console)
    write_report(report, parsed.report)
    console.print(f"Written to {parsed.report}.")
    return 1 if report["problems"] else 0


def _train(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.show_augmentation import show_augmentation
    from training.commands.train import train_bundle
    from training.config import ConfigError, load_config
    from training.evaluation.numbers import REFERENCE_ENGINE, headline
    from training.options import overrides
    from vision.bundle.manifest import METRICS_FILE

    config = load_config(parsed.recipe, overrides(parsed))
    if parsed.show_augmentation:
        show_augmentation(parsed.data, config, parsed.show_augmentation, console)
        return
    if parsed.out is None:
        raise ConfigError("--out is missing; it names the model, e.g. --out models/flowers.")
    if parsed.cluster and parsed.workers == 1:
        raise ConfigError("--cluster is given and --workers is 1; say how many processes train, e.g. --workers 4.")
    how = {name: getattr(parsed, name) for name in ("formats", "resume", "workers", "cluster")}
    bundle = train_bundle(parsed.data, parsed.out, config, console, **how)
    console.print(headline(bundle, json.loads(bundle.files[METRICS_FILE])[REFERENCE_ENGINE]))
    console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _evaluate(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.evaluate import evaluate_bundle

    results = evaluate_bundle(parsed.bundle, parsed.data, parsed.engine, parsed.part, parsed.predictions, console)
    if parsed.json:
        parsed.json.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def _export(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.export import export_again

    bundle = export_again(parsed.bundle, parsed.data, parsed.formats, console)
    console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _compare(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.compare import compare_architectures
    from training.options import overrides

    weights = dict(pair.split("=", 1) for pair in parsed.weights_of)
    compare_architectures(parsed.data, parsed.archs, weights, overrides(parsed), console)


def _transfer(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.transfer import transfer_table
    from training.config import load_config
    from training.options import overrides

    config = load_config(parsed.recipe, overrides(parsed))
    transfer_table(parsed.data, config, parsed.scratch_learning_rate, parsed.seeds, console)


def _architectures(parsed: argparse.Namespace, console: "Console") -> None:
    from training.commands.compare import list_architectures

    list_architectures(parsed.names, parsed.latency, console)


def _command(name: str, words: str, run: Callable[[argparse.Namespace, "Console"], int | None]) -> Command:
    """A command whose options are the function of its name in `training.options`, imported when it runs."""

    def add_options(parser: argparse.ArgumentParser) -> None:
        missing = [package for package in _NEEDED if importlib.util.find_spec(package) is None]
        if missing:
            raise NotInstalled(
                f"{name} needs {', '.join(missing)}. Run `make install`, or pip install '.[training]' in the clone."
            )
        getattr(importlib.import_module("training.options"), name)(parser)

    return Command(name, words, add_options, lambda parsed: run(parsed, _console()))


def _console() -> Any:
    from rich.console import Console

    from vision.image import silence_pillow

    silence_pillow()
    # Output that is no terminal has no width: a table needs none there.
    return Console(soft_wrap=True, markup=False, highlight=False, width=None if sys.stdout.isatty() else 160)


COMMANDS = (
    _command("train", "train on a folder of labelled images, one folder for each category", _train),
    _command("scan", "check every file before training; status 1 if there is a problem", _scan),
    _command("evaluate", "measure a model again, on its own test images or on other data", _evaluate),
    _command("export", "save the next version of a model with more formats, each checked against torch", _export),
    _command("compare", "compare backbones on features that are computed once, and recommend one", _compare),
    _command(
        "transfer",
        "compare a frozen backbone, a fine-tuned one and training from scratch, over several seeds",
        _transfer,
    ),
    _command(
        "architectures", "list networks: parameters, size, cost, published accuracy, latency here", _architectures
    ),
    _command(
        "demo", "train the demo again: fine-tune the shipped backbone on handwritten digits; needs no internet", _demo
    ),
)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; see `vision.command_line.run_command`. `scan` gives status 1 if there are problems."""
    return run_command("python -m training", COMMANDS, arguments)


if __name__ == "__main__":
    sys.exit(main())
