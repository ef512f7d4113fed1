"""Which training images a step sees, and what each class weighs: functions of the labels and of the position in the run."""

from typing import Literal

import numpy as np
import numpy.typing as npt

Balance = Literal["none", "loss", "sampler"]
Indices = npt.NDArray[np.int64]


def epoch_steps(labels: Indices, batch_size: int, balance: Balance, position: list[int]) -> list[Indices]:
    """The images of each step of one epoch.

    Args:
        labels: (N,) of the training images.
        batch_size: images a step, at most; steps are of equal size up to one, so that no BatchNorm gets a single image.
        balance: `sampler` draws N images so that each class is as likely as any other; else each image comes once.
        position: (seed, phase, epoch): the same gives the same order.

    Returns:
        Sorted indices, one array a step.
    """
    generator = np.random.default_rng(position)
    if balance == "sampler":
        share = 1 / np.bincount(labels)[labels]
        order = generator.choice(len(labels), len(labels), p=share / share.sum())
    else:
        order = generator.permutation(len(labels))
    return [np.sort(step) for step in np.array_split(order, -(-len(labels) // batch_size))]


def class_weights(labels: Indices, num_classes: int) -> npt.NDArray[np.float32]:
    """(num_classes,): each class weighs the same in the sum of all images' losses, and the mean image weighs 1."""
    counts = np.bincount(labels, minlength=num_classes)
    return (len(labels) / (num_classes * np.maximum(counts, 1))).astype(np.float32)
