import pytest
import torch

from training.data.augmentation import AFFINE, NAMES, Affine, Augmentation, augmentation


def test_nothing_random_changes_nothing() -> None:
    images = torch.rand(4, 3, 9, 9)
    assert torch.allclose(Affine()(images), images, atol=1e-5)


def test_the_default_preset_is_the_documented_one() -> None:
    assert AFFINE["photos"] == Affine(rotation_deg=20, shift=0.2, zoom_in=0.15, zoom_out=0.15, flip=True)


def test_flipping_mirrors_about_half_and_nothing_else() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 1, 8, 8)
    flipped = Affine(flip=True)(images)
    mirrored = torch.isclose(flipped, images.flip(3), atol=1e-5).all(dim=(1, 2, 3))
    kept = torch.isclose(flipped, images, atol=1e-5).all(dim=(1, 2, 3))
    assert torch.equal(mirrored, ~kept)
    assert 70 < mirrored.sum() < 130


def test_shifts_stay_within_their_share_and_repeat_the_edge() -> None:
    torch.manual_seed(0)
    images = torch.zeros(300, 1, 21, 21)
    images[:, :, 10, 10] = 1
    images[:, :, :, 0] = 0.5  # the edge that is repeated when the image moves right
    shifted = Affine(shift=0.2)(images)
    dots = (shifted[:, 0, :, 5:] == shifted[:, 0, :, 5:].amax(dim=(1, 2), keepdim=True)).nonzero()
    rows, columns = dots[:, 1], dots[:, 2] + 5
    assert rows.min() >= 10 - 5
    assert rows.max() <= 10 + 5
    assert columns.min() < 8
    assert columns.max() > 12
    assert (shifted >= 0).all()
    assert (shifted[:, 0, 2, 0] > 0.4).any()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_every_name_keeps_shape_and_range_and_follows_the_seed(name: str) -> None:
    changes = augmentation(name)
    pixels = torch.randint(0, 256, (16, 32, 32, 3), dtype=torch.uint8)
    labels = torch.arange(16) % 4

    def augmented(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        values = changes.on_pixels(pixels)
        assert values.dtype == torch.uint8
        images, _ = changes.on_values(values.permute(0, 3, 1, 2).float() / 255, labels, 4)
        return images

    first, again, other = (augmented(seed) for seed in (1, 1, 2))
    assert first.shape == (16, 3, 32, 32)
    assert first.min() >= -1e-6
    assert first.max() <= 1 + 1e-6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, pixels.permute(0, 3, 1, 2).float() / 255)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_mixing_gives_each_image_shares_of_two_labels(name: str) -> None:
    torch.manual_seed(0)
    images, shares = augmentation(name).on_values(torch.rand(12, 3, 16, 16), torch.arange(12) % 3, 3)
    assert shares.shape == (12, 3)
    assert torch.allclose(shares.sum(dim=1), torch.ones(12))
    assert ((shares > 0).sum(dim=1) <= 2).all()
    assert images.shape == (12, 3, 16, 16)


def test_a_batch_of_one_cannot_be_mixed_and_stays_as_it_is() -> None:
    image = torch.rand(1, 3, 8, 8)
    images, labels = augmentation("mixup").on_values(image, torch.tensor([2]), 3)
    assert torch.equal(images, image)
    assert labels.tolist() == [2]


def test_each_image_draws_its_own_policy() -> None:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (1, 24, 24, 3), dtype=torch.uint8).repeat(12, 1, 1, 1)
    assert len({tuple(image.flatten().tolist()) for image in augmentation("trivialaugment").on_pixels(pixels)}) > 4


def test_names_are_combined_one_of_each_kind() -> None:
    assert augmentation("none") is None
    assert augmentation("photos+trivialaugment+erasing+cutmix") == Augmentation(
        "trivialaugment", AFFINE["photos"], True, "cutmix"
    )
    for names in ("photos+characters", "mixup+cutmix", "none+photos", "photos+photos"):
        with pytest.raises(ValueError, match="one of each kind"):
            augmentation(names)
    with pytest.raises(ValueError, match="'poster'; choose from none, photos"):
        augmentation("photos+poster")


def test_characters_are_never_mirrored() -> None:
    assert not AFFINE["characters"].flip
