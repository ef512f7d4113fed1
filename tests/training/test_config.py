import pytest

from training.config import RECIPES, ConfigError, TrainConfig, load_config
from vision.architectures import build_model


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda file: file.stem)
def test_every_recipe_loads_by_name_and_by_file(recipe) -> None:
    assert load_config(recipe.stem, {}) == load_config(str(recipe), {})


def test_overrides_win_over_the_recipe() -> None:
    assert load_config("digits", {"seed": 41}).seed == 41


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"learning_rat": 1}, "learning_rat"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"finetune_ratio": 5}, "finetune_ratio"),
        ({"arch": "resnet9000"}, "mobilenet_v2"),
        ({"augmentation": "posters"}, "characters"),
        ({"val_share": 0.5, "test_share": 0.5}, "val_share"),
        ({"plateau_patience": 6, "stop_patience": 6}, "stop_patience"),
        ({"preprocessing": {"policy": "crop"}}, "preprocessing.resize_px"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(overrides: dict, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_config(None, overrides)


def test_an_unknown_recipe_lists_those_there_are() -> None:
    with pytest.raises(ConfigError, match="digits"):
        load_config("flowerz", {})


def test_with_weights_there_are_two_phases_and_the_second_is_slower_by_the_ratio() -> None:
    model = build_model("simple_resnet", 3)
    config = TrainConfig(arch="simple_resnet", weights="x.safetensors", learning_rate=1e-2, finetune_ratio=50, unfreeze_blocks=2)
    frozen, finetuned = config.phases(model)
    assert (frozen.name, frozen.unfrozen_blocks, frozen.head_lr) == ("frozen", 0, 1e-2)
    assert (finetuned.name, finetuned.unfrozen_blocks, finetuned.backbone_lr) == ("fine-tuned", 2, 2e-4)
    assert TrainConfig(arch="simple_resnet", weights="x", unfreeze_blocks=99).phases(model)[1].unfrozen_blocks == len(model.backbone)


def test_without_weights_there_is_one_phase_with_the_whole_budget() -> None:
    (scratch,) = TrainConfig(arch="simple_resnet", epochs_frozen=3, epochs_finetuned=4).phases(build_model("simple_resnet", 3))
    assert (scratch.name, scratch.epochs, scratch.unfrozen_blocks, scratch.batch_norm) == ("scratch", 7, 4, "full")
