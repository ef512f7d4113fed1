"""The command line of a training run, made from `TrainConfig`: one definition of every knob, its bound and its words."""

import argparse
from typing import Any, get_args

from training.config import ConfigError, TrainConfig

# What only a recipe can say: tables do not fit into an option.
_TABLES = ("preprocessing", "arch_arguments")
_SPLIT = ("seed", "split_seed", "val_share", "test_share", "group_by", "problem_files")


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """`--recipe`, `--epochs` and an option for each field; what is not given stays None."""
    parser.add_argument("--recipe", help="a .toml file, or the name of one in training/recipes; the options below override it")
    parser.add_argument("--epochs", type=int, metavar="N", help="both phases together: a third on the frozen backbone, the rest fine-tuned")
    _add(parser, [name for name in TrainConfig.model_fields if name not in _TABLES])


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """The options that decide which image is in which part."""
    _add(parser, _SPLIT)


def overrides(parsed: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given, by name.

    Raises:
        ConfigError: --epochs beside one of the numbers that it stands for, or below 2.
    """
    given = {name: getattr(parsed, name) for name in TrainConfig.model_fields if getattr(parsed, name, None) is not None}
    epochs = getattr(parsed, "epochs", None)
    if epochs is not None:
        if given.keys() & {"epochs_frozen", "epochs_finetuned"}:
            raise ConfigError("--epochs stands for --epochs-frozen and --epochs-finetuned together; give either it or them.")
        if epochs < 2:
            raise ConfigError(f"--epochs is {epochs}; it must be at least 2, one for each phase.")
        frozen = max(1, epochs // 3)
        given |= {"epochs_frozen": frozen, "epochs_finetuned": epochs - frozen}
    return given


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
