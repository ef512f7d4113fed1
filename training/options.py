"""The options of each training command. Those of a training run are made from `TrainConfig`."""

import argparse
from pathlib import Path
from typing import Any, get_args

from training.config import ConfigError, TrainConfig
from training.export.conversion import FORMATS
from training.loop.config import LoopConfig

# Only a recipe can set these: they are tables, which do not fit into an option.
_TABLES = ("preprocessing", "arch_arguments")
_SPLIT = ("seed", "split_seed", "val_share", "test_share", "group_by", "problem_files")
_DATA = "a folder with one folder of images for each category, or with train/, val/ and test/ that hold those"
_OPTIONAL_FORMATS = [name for name in FORMATS if name != "openvino"]


def demo(parser: argparse.ArgumentParser) -> None:
    """Options of `demo`."""
    parser.add_argument(
        "--out", type=Path, default=Path("models/digits"), help="where the model is saved (default: models/digits)"
    )
    _add_number(parser, "--seeds", 1, 20, 5, "number of seeds for the runs with few labels")
    _add_number(parser, "--budget", 1, 10, 1, "factor for the number of epochs of every run")
    parser.add_argument("--pretrain", action="store_true", help="instead, make the shipped backbone again")


def scan(parser: argparse.ArgumentParser) -> None:
    """Options of `scan`."""
    _add_data(parser)
    parser.add_argument(
        "--report", type=Path, default=Path("data_report.json"), help="the report's file (default: data_report.json)"
    )
    _add(parser, _SPLIT)


def train(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    _add_data(parser)
    parser.add_argument(
        "--out", type=Path, help="models/NAME; the version is chosen, and the run is kept in runs/NAME/VERSION"
    )
    parser.add_argument("--resume", action="store_true", help="continue the unfinished run of this name")
    _add_number(parser, "--workers", 1, 64, 1, "number of processes that train, started by Ray Train")
    parser.add_argument(
        "--cluster",
        metavar="HOST:PORT",
        help="a running Ray cluster for the workers, whose machines share DATA and --out (default: this machine)",
    )
    parser.add_argument(
        "--formats",
        type=_formats,
        default=[],
        help=f"formats to add to OpenVINO's float32: {', '.join(_OPTIONAL_FORMATS)}, joined with commas",
    )
    parser.add_argument(
        "--show-augmentation",
        type=Path,
        metavar="FILE.png",
        help="instead of training, write a picture of augmented images",
    )
    _add_config(parser)


def evaluate(parser: argparse.ArgumentParser) -> None:
    """Options of `evaluate`."""
    _add_bundle(parser)
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="the data it was trained on, or other images of the same categories"
    )
    parser.add_argument(
        "--engine", default="auto", help="auto (what the service uses), all, or a name, e.g. openvino-int8"
    )
    parser.add_argument(
        "--part",
        choices=("train", "val", "test"),
        default="test",
        help="part of its own data to evaluate (default: test)",
    )
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write one JSON line per image")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every number, by engine")


def export(parser: argparse.ArgumentParser) -> None:
    """Options of `export`."""
    _add_bundle(parser)
    parser.add_argument("data", type=Path, metavar="DATA", help="the data it was trained on")
    parser.add_argument(
        "--formats",
        type=_formats,
        required=True,
        help=f"formats to add: {', '.join(_OPTIONAL_FORMATS)}, joined with commas",
    )


def compare(parser: argparse.ArgumentParser) -> None:
    """Options of `compare`."""
    _add_data(parser)
    parser.add_argument(
        "--archs", type=lambda text: text.split(","), required=True, help="names of architectures, joined with commas"
    )
    parser.add_argument(
        "--weights",
        dest="weights_of",
        type=_weights_of,
        action="append",
        default=[],
        metavar="ARCH=WEIGHTS",
        help="weights of one architecture; may be repeated (default: imagenet)",
    )
    parser.add_argument("--image-px", metavar="PX", help="side of the square that the networks see, in pixels")
    _add(parser, _SPLIT)


def transfer(parser: argparse.ArgumentParser) -> None:
    """Options of `transfer`."""
    _add_data(parser)
    _add_number(parser, "--seeds", 1, 20, 3, "number of seeds")
    parser.add_argument(
        "--scratch-learning-rate",
        type=float,
        metavar="RATE",
        help="learning rate for training from scratch (default: --learning-rate)",
    )
    _add_config(parser)


def architectures(parser: argparse.ArgumentParser) -> None:
    """Options of `architectures`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="architectures to list (default: the featured ones)")
    parser.add_argument(
        "--latency", action="store_true", help="time one image through torch in float32 on this machine"
    )


def overrides(parsed: argparse.Namespace) -> dict[str, Any]:
    """The fields of `TrainConfig` that were given, by name.

    Raises:
        ConfigError: --epochs is below 2, or given beside one of the numbers that it stands for.
    """
    given = {
        name: getattr(parsed, name) for name in TrainConfig.model_fields if getattr(parsed, name, None) is not None
    }
    epochs = getattr(parsed, "epochs", None)
    if epochs is not None:
        if given.keys() & {"epochs_frozen", "epochs_finetuned"}:
            raise ConfigError(
                "--epochs stands for --epochs-frozen and --epochs-finetuned together; give either it or them."
            )
        if epochs < 2:
            raise ConfigError(f"--epochs is {epochs}; it must be at least 2, one for each phase.")
        frozen = max(1, epochs // 3)
        given |= {"epochs_frozen": frozen, "epochs_finetuned": epochs - frozen}
    return given


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help=_DATA)


def _add_bundle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="models/NAME/VERSION")


def _add_number(
    parser: argparse.ArgumentParser, option: str, lowest: int, highest: int, default: int, words: str
) -> None:
    parser.add_argument(
        option,
        type=int,
        choices=range(lowest, highest + 1),
        default=default,
        metavar=f"{lowest}..{highest}",
        help=f"{words} (default: {default})",
    )


def _add_config(parser: argparse.ArgumentParser) -> None:
    """`--recipe`, `--epochs` and an option for each field; an option that is not given stays None."""
    parser.add_argument("--recipe", help="a .toml file, or the name of one in training/recipes; options override it")
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs of both phases together: a third with a frozen backbone, the rest fine-tuned",
    )
    own = [name for name in TrainConfig.model_fields if name not in LoopConfig.model_fields]
    _add(parser, [name for name in (*own, *LoopConfig.model_fields) if name not in _TABLES])


def _add(parser: argparse.ArgumentParser, names: "list[str] | tuple[str, ...]") -> None:
    for name in names:
        field = TrainConfig.model_fields[name]
        option = f"--{name.replace('_', '-')}"
        default = "" if field.default is None else f" (default: {field.default})"
        words = f"{field.description}{default}".replace("%", "%%").replace("\n", " ")
        if bool in get_args(field.annotation):
            parser.add_argument(option, action=argparse.BooleanOptionalAction, help=words)
        else:
            choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
            parser.add_argument(option, metavar="|".join(choices) or name.split("_")[-1].upper(), help=words)


def _formats(text: str) -> list[str]:
    chosen = [name for name in text.split(",") if name]
    for name in chosen:
        if name not in _OPTIONAL_FORMATS:
            raise argparse.ArgumentTypeError(
                f"{name!r} is not a format; choose from {', '.join(_OPTIONAL_FORMATS)}, joined with commas"
            )
    return chosen


def _weights_of(text: str) -> str:
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not ARCH=WEIGHTS, e.g. mobilenet_v2=backbone.safetensors")
    return text
