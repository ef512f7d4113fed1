import pytest

from training.config import RECIPES, ConfigError, TrainConfig, load_config
from vision.architectures.registry import build_model


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
        ({"unfreeze_blocks": 2, "unfreeze_layers": 3}, "give one of them"),
        ({"cache_features": True}, "an untrained backbone gives no useful features"),
        ({"accumulate": 8, "batch_size": 4}, "accumulate is 8"),
        ({"image_px": 4}, "image_px"),
        ({"precision": "float8"}, "precision"),
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
    settings = {"arch": "simple_resnet", "weights": "x.safetensors", "learning_rate": 1e-2, "finetune_ratio": 50}
    config = TrainConfig(**settings, unfreeze_blocks=2, block_decay=0.7)
    frozen, finetuned = config.phases(model)
    assert (frozen.name, frozen.unfrozen_blocks, frozen.head_lr) == ("frozen", 0, 1e-2)
    assert (finetuned.name, finetuned.unfrozen_blocks, finetuned.backbone_lr, finetuned.block_decay) == (
        "fine-tuned",
        2,
        2e-4,
        0.7,
    )
    assert TrainConfig(**settings, unfreeze_blocks=99).phases(model)[1].unfrozen_blocks == len(model.blocks) == 4
    assert TrainConfig(**settings, unfreeze_layers=3).phases(model)[1].unfrozen_layers == 3


@pytest.mark.parametrize(
    ("settings", "first"),
    [
        ({"augmentation": "none"}, "features"),
        ({"augmentation": "photos"}, "frozen"),
        ({"augmentation": "photos", "cache_features": True}, "features"),
        ({"augmentation": "none", "cache_features": False}, "frozen"),
    ],
)
def test_the_head_is_fitted_on_cached_features_where_augmentation_is_off_or_it_is_asked_for(
    settings: dict, first: str
) -> None:
    phases = TrainConfig(arch="simple_resnet", weights="x.safetensors", **settings).phases(
        build_model("simple_resnet", 3)
    )
    assert [phase.name for phase in phases] == [first, "fine-tuned"]
    assert phases[0].cached_features == (first == "features")


def test_preprocessing_comes_from_the_weights_and_scales_with_the_size_asked_for() -> None:
    assert TrainConfig(arch="resnet50", weights="IMAGENET1K_V1").resolved_preprocessing.resize_px == 256
    assert TrainConfig(arch="resnet50", weights="imagenet").resolved_preprocessing.resize_px == 232
    small = TrainConfig(arch="resnet50", weights="IMAGENET1K_V1", image_px=112).resolved_preprocessing
    assert (small.resize_px, small.crop_px) == (128, 112)


def test_a_file_that_is_no_recipe_is_refused(tmp_path) -> None:
    for text in ("[config", "[settings]\nseed = 1"):
        (tmp_path / "odd.toml").write_text(text)
        with pytest.raises(ConfigError, match=r"odd\.toml is not a recipe"):
            load_config(str(tmp_path / "odd.toml"), {})


def test_without_weights_there_is_one_phase_with_the_whole_budget() -> None:
    (scratch,) = TrainConfig(arch="simple_resnet", epochs_frozen=3, epochs_finetuned=4).phases(
        build_model("simple_resnet", 3)
    )
    assert (scratch.name, scratch.epochs, scratch.unfrozen_blocks, scratch.batch_norm) == ("scratch", 7, 4, "full")
