import pytest
import torch

from training.augmentation import AUGMENTATIONS, Augmentation


def test_nothing_random_changes_nothing() -> None:
    images = torch.rand(4, 3, 9, 9)
    assert torch.allclose(Augmentation()(images), images, atol=1e-5)


def test_one_seed_one_result() -> None:
    images = torch.rand(4, 1, 16, 16)
    results = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        results.append(AUGMENTATIONS["photos"](images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_flipping_mirrors_about_half_and_nothing_else() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 1, 8, 8)
    flipped = Augmentation(flip=True)(images)
    mirrored = torch.isclose(flipped, images.flip(3), atol=1e-5).all(dim=(1, 2, 3))
    kept = torch.isclose(flipped, images, atol=1e-5).all(dim=(1, 2, 3))
    assert torch.equal(mirrored, ~kept)
    assert 70 < mirrored.sum() < 130


def test_shifts_stay_within_their_share_and_repeat_the_edge() -> None:
    torch.manual_seed(0)
    images = torch.zeros(300, 1, 21, 21)
    images[:, :, 10, 10] = 1
    images[:, :, :, 0] = 0.5  # the edge that is repeated when the image moves right
    shifted = Augmentation(shift=0.2)(images)
    dots = (shifted[:, 0, :, 5:] == shifted[:, 0, :, 5:].amax(dim=(1, 2), keepdim=True)).nonzero()
    rows, columns = dots[:, 1], dots[:, 2] + 5
    assert rows.min() >= 10 - 5
    assert rows.max() <= 10 + 5
    assert columns.min() < 8
    assert columns.max() > 12
    assert (shifted >= 0).all()
    assert (shifted[:, 0, 2, 0] > 0.4).any()


@pytest.mark.parametrize("name", [name for name, value in AUGMENTATIONS.items() if value])
def test_every_preset_keeps_shape_and_range(name: str) -> None:
    images = torch.rand(8, 3, 32, 32)
    augmented = AUGMENTATIONS[name](images)
    assert augmented.shape == images.shape
    assert augmented.min() >= -1e-6
    assert augmented.max() <= 1 + 1e-6


def test_characters_are_never_mirrored() -> None:
    assert not AUGMENTATIONS["characters"].flip
