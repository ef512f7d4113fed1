"""`python -m training`: demo, train."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rich.console import Console

from vision.errors import SightlineError
from vision.image import silence_pillow


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; a refusal is printed without a traceback and gives status 2."""
    parsed = _parser().parse_args(arguments)
    console = Console(soft_wrap=True, markup=False, highlight=False)
    silence_pillow()
    try:
        parsed.run(parsed, console)
    except SightlineError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0


def _demo(parsed: argparse.Namespace, console: Console) -> None:
    from training.demo import pretrain, run_demo

    if parsed.pretrain:
        pretrain(console)
    else:
        bundle = run_demo(parsed.out, parsed.seeds, parsed.budget, console)
        console.print(f"Saved {bundle.path}, digest {bundle.digest}.")


def _train(parsed: argparse.Namespace, console: Console) -> None:
    from training.config import load_config
    from training.pipeline import train_bundle

    overrides: dict[str, Any] = {name: getattr(parsed, name) for name in _OVERRIDES if getattr(parsed, name) is not None}
    bundle = train_bundle(parsed.data, parsed.out, load_config(parsed.recipe, overrides), console)
    metrics = ", ".join(f"{name} {value:.4f}" for name, value in bundle.manifest.metrics.items())
    console.print(f"Saved {bundle.path}, digest {bundle.digest}: {metrics}.")


_OVERRIDES = (
    "arch",
    "weights",
    "seed",
    "epochs_frozen",
    "epochs_finetuned",
    "learning_rate",
    "batch_size",
    "augmentation",
    "unfreeze_blocks",
    "batch_norm",
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Labelled images in, a bundle out.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="transfer a shipped backbone to handwritten digits; needs no data and no network")
    demo.add_argument("--out", type=Path, default=Path("models/digits"), help="where the bundle goes (default: models/digits)")
    demo.add_argument(
        "--seeds", type=int, choices=range(1, 21), default=5, metavar="1..20", help="for the runs with few labels (default: 5)"
    )
    demo.add_argument(
        "--budget", type=int, choices=range(1, 11), default=1, metavar="1..10", help="times the epochs of every run (default: 1)"
    )
    demo.add_argument("--pretrain", action="store_true", help="make the shipped backbone again instead")
    demo.set_defaults(run=_demo)

    train = commands.add_parser("train", help="train on a folder of labelled images: one folder a category")
    train.add_argument("data", type=Path, metavar="DATA")
    train.add_argument("--out", type=Path, required=True, help="models/NAME; the version below it is chosen")
    train.add_argument("--recipe", help="a .toml file, or the name of one in training/recipes; the options below override it")
    train.add_argument("--arch", help="mobilenet_v2, simple_resnet, lenet5")
    train.add_argument("--weights", metavar="FILE|none", help="a safetensors file with a pretrained backbone, or none")
    train.add_argument("--epochs-frozen", type=int, help="phase 1: the head on the frozen backbone")
    train.add_argument("--epochs-finetuned", type=int, help="phase 2: the unfrozen blocks too; 0 leaves it out")
    train.add_argument("--unfreeze-blocks", type=int, help="how many blocks next to the head learn in phase 2")
    train.add_argument("--batch-norm", choices=("frozen", "affine", "full"), help="in the unfrozen blocks of phase 2")
    train.add_argument("--learning-rate", type=float, help="of the head; phase 2 is 10 to 100 times slower")
    train.add_argument("--batch-size", type=int, help="images a step")
    train.add_argument("--augmentation", choices=("none", "photos", "characters"))
    train.add_argument("--seed", type=int)
    train.set_defaults(run=_train)
    return parser


if __name__ == "__main__":
    sys.exit(main())
