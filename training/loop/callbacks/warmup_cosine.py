"""A learning rate that rises linearly and then falls along half a cosine, within each phase."""

import math

from training.loop.callbacks.base import Callback, TrainingState


class WarmupCosine(Callback):
    """Sets every group's rate before each step, as a share of the group's full rate. It has no state.

    Args:
        warmup: share of the phase's steps in which the rate rises, 0 to 0.5.
        final: share of the full rate at the end, 0 to 1.
    """

    def __init__(self, warmup: float = 0.15, final: float = 0.01) -> None:
        if not 0 <= warmup <= 0.5 or not 0 <= final <= 1:
            raise ValueError(f"warmup is {warmup} and final {final}; they must lie in 0 to 0.5 and in 0 to 1.")
        self.warmup = warmup
        self.final = final

    def on_epoch_begin(self, run: TrainingState) -> None:
        """Sets the rate of the first step of the epoch, or of the step that is resumed."""
        self._set(run)

    def on_step_end(self, run: TrainingState) -> None:
        """Sets the rate of the next step."""
        self._set(run)

    def share(self, done: float) -> float:
        """The share of the full rate after this share of the phase's steps; both 0 to 1."""
        if done < self.warmup:
            return (1 + done / self.warmup * 24) / 25  # from a 25th, as in https://arxiv.org/abs/1803.09820
        fallen = (done - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * fallen)) / 2

    def _set(self, run: TrainingState) -> None:
        steps = run.epoch * run.steps_per_epoch + run.steps_done
        share = self.share(min(1.0, steps / (run.phase.epochs * run.steps_per_epoch)))
        for group in run.optimizer.param_groups:
            group["lr"] = group["full_lr"] * share
