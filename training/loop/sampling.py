"""Which training images each step sees, and the weight of each class."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Balance = Literal["none", "loss", "sampler"]
Indices = npt.NDArray[np.int64]


def epoch_steps(labels: Indices, batch_size: int, balance: Balance, position: list[int]) -> list[Indices]:
    """The images of each step of one epoch.

    Args:
        labels: (N,) of the training images.
        batch_size: most images in a step. Sizes differ by at most one, so that no BatchNorm gets a single image.
        balance: `sampler` draws N images so that each class is equally likely; else each image comes once.
        position: (seed, phase, epoch); the same position gives the same order.

    Returns:
        Sorted indices, one array for each step.
    """
    generator = np.random.default_rng(position)
    if balance == "sampler":
        share = 1 / np.bincount(labels)[labels]
        order = generator.choice(len(labels), len(labels), p=share / share.sum())
    else:
        order = generator.permutation(len(labels))
    return [np.sort(step) for step in np.array_split(order, -(-len(labels) // batch_size))]


def class_weights(labels: Indices, num_classes: int) -> npt.NDArray[np.float32]:
    """(num_classes,): weights that make each class count equally in the total loss; the mean over images is 1."""
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * np.maximum(counts, 1))).astype(np.float32)
