"""The training loop: phases, epochs, steps, and nothing else.

Randomness is a function of the position: before each step the generators are seeded from (seed, phase, epoch, step), and an
epoch's order from (seed, phase, epoch). So a checkpoint needs no generator state, and a resumed run draws what the
uninterrupted one would have drawn. Knows no files, no command line and no architecture.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.augmentation import Augmentation
from training.callbacks import Callback, Logs
from training.datasets import ImageSet
from training.finetuning import Phase, parameter_groups, set_train_mode, set_trainable
from training.metrics import accuracy, negative_log_likelihood
from vision.architectures.classifier import Classifier
from vision.engines.servable import Normalisation
from vision.preprocessing import Preprocessing

_EVALUATION_BATCH = 256


class Trainer:
    """Trains one network through its phases.

    Args:
        model: trained in place.
        preprocessing: its normalisation is applied to every batch.
        train: images to learn from; the only ones that are augmented.
        val: images to choose by.
        callbacks: called in this order.
        batch_size: images a step.
        augmentation: None leaves the training images as they are.
        weight_decay: AdamW's, on weights only.
        label_smoothing: 0 to below 1.
        seed: of everything that is drawn.
        device: where it runs.

    Attributes:
        phase_index: which phase runs, from 0.
        epoch: how many epochs of it are done.
        step: which step of the epoch runs or has just ended, from 0.
        should_stop: set by a callback to end the phase after this epoch.
        history: the logs of every epoch so far, each with its phase's name.
    """

    def __init__(
        self,
        model: Classifier,
        preprocessing: Preprocessing,
        train: ImageSet,
        val: ImageSet,
        callbacks: Sequence[Callback] = (),
        *,
        batch_size: int = 32,
        augmentation: Augmentation | None = None,
        weight_decay: float = 0.01,
        label_smoothing: float = 0.0,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalisation = Normalisation(preprocessing).to(device)
        self.train = train
        self.val = val
        self.callbacks = list(callbacks)
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.device = device
        self.phases: Sequence[Phase] = ()
        self.optimizer = torch.optim.AdamW([torch.zeros(1)])
        self.phase_index = 0
        self.epoch = 0
        self.step = 0
        self.should_stop = False
        self.history: list[dict[str, Any]] = []

    @property
    def phase(self) -> Phase:
        """The phase that runs now."""
        return self.phases[self.phase_index]

    @property
    def steps_per_epoch(self) -> int:
        """How many steps an epoch has; the last one may see fewer images."""
        return -(-len(self.train) // self.batch_size)

    def fit(self, phases: Sequence[Phase], resume: dict[str, Any] | None = None) -> None:
        """Runs the phases in order.

        Args:
            phases: at least one.
            resume: what `state_dict` gave in an earlier run over the same data with the same settings.
        """
        self.phases = phases
        if resume is not None:
            self._load_state_dict(resume)
        self._call("on_train_begin")
        while self.phase_index < len(phases):
            self._run_phase(resumed=resume is not None)
            resume = None
            self.phase_index += 1
            self.epoch = 0
            self.should_stop = False
        self._call("on_train_end")

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8 (N, H, W, C) → logits (N, classes), in eval mode."""
        self.model.eval()
        with torch.inference_mode():
            batches = [
                self.model(self.normalisation(self._to_device(images[start : start + _EVALUATION_BATCH]))).float().cpu().numpy()
                for start in range(0, len(images), _EVALUATION_BATCH)
            ]
        return np.concatenate(batches)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, at the end of an epoch."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "phase_index": self.phase_index,
            "epoch": self.epoch,
            "should_stop": self.should_stop,
            "history": self.history,
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in self.callbacks},
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.phase_index, self.epoch, self.should_stop = state["phase_index"], state["epoch"], state["should_stop"]
        self.history = state["history"]
        self.model.load_state_dict(state["model"])
        for callback in self.callbacks:
            callback.load_state_dict(state["callbacks"][type(callback).__name__])
        self._begin_phase()
        self.optimizer.load_state_dict(state["optimizer"])
        # The fused optimizer walks a parameter and its moments by memory, so they must be laid out alike.
        for parameter, moments in self.optimizer.state.items():
            for name, tensor in moments.items():
                if tensor.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(tensor)

    def _begin_phase(self) -> None:
        set_trainable(self.model, self.phase)
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, self.phase, self.weight_decay), fused=True)

    def _run_phase(self, resumed: bool) -> None:
        if not resumed:
            self._begin_phase()
            self._call("on_phase_begin")
        while self.epoch < self.phase.epochs and not self.should_stop:
            self._call("on_epoch_begin")
            logs = {"train_loss": self._train_one_epoch()} | self._evaluate()
            logs["learning_rate"] = self.optimizer.param_groups[0]["lr"]
            self.epoch += 1
            self.history.append({"phase": self.phase.name, "epoch": self.epoch} | logs)
            self._call("on_epoch_end", logs)
        self._call("on_phase_end")

    def _train_one_epoch(self) -> float:
        set_train_mode(self.model, self.phase)
        order = np.random.default_rng([self.seed, self.phase_index, self.epoch]).permutation(len(self.train))
        total = 0.0
        for step in range(self.steps_per_epoch):
            self.step = step
            torch.manual_seed(int(np.random.SeedSequence([self.seed, self.phase_index, self.epoch, step]).generate_state(1)[0]))
            chosen = np.sort(order[step * self.batch_size : (step + 1) * self.batch_size])
            total += self._step(self.train.images[chosen], self.train.labels[chosen]) * len(chosen)
            self._call("on_step_end")
        return total / len(self.train)

    def _step(self, pixels: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64]) -> float:
        images = self.normalisation(self._to_device(pixels))
        if self.augmentation is not None:
            images = self.augmentation(images)
        loss = functional.cross_entropy(self.model(images), self._to_device(classes), label_smoothing=self.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def _evaluate(self) -> Logs:
        logits = self.predict(self.val.images)
        return {"val_loss": negative_log_likelihood(logits, self.val.labels), "val_acc@1": accuracy(logits, self.val.labels)}

    def _to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _call(self, hook: str, *arguments: Logs) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)
