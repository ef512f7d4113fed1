"""The training loop: phases, epochs, steps.

Randomness depends only on the position in the run: the generators are seeded from (seed, phase, epoch, step) before
each step, and the order of an epoch from (seed, phase, epoch). So a checkpoint needs no generator state, and a resumed
run draws the same numbers as an uninterrupted one. No files, no command line, no architecture.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from training.data.augmentation import augmentation
from training.data.images import ImageSet
from training.evaluation.metrics import accuracy, negative_log_likelihood
from training.loop.callbacks.base import Callback, Logs
from training.loop.config import LoopConfig
from training.loop.features import fit_head
from training.loop.finetuning import Phase, make_optimizer, parameter_groups, set_train_mode, set_trainable
from training.loop.sampling import Indices, class_weights, epoch_steps
from training.loop.workers import ALONE, Workers
from vision.architectures.classifier import Classifier
from vision.engines.servable import Normalisation
from vision.preprocessing import Preprocessing

# On CPUs small batches fit into the caches: MobileNetV2 at 96 px ran 320 images/s with 32 and 210 with 128.
_EVALUATION_BATCH = {"cpu": 32, "cuda": 256}


class Trainer:
    """Trains one network through its phases.

    Args:
        model: trained in place.
        preprocessing: its normalisation is applied to every batch.
        train: images to learn from; the only ones that are augmented.
        val: validation images, for choosing the best epoch.
        config: the settings of the loop.
        callbacks: called in this order.
        device: `cpu` or `cuda`.
        workers: the processes that share each step's images.

    Attributes:
        phase_index: the phase that runs, from 0.
        epoch: epochs of this phase that are done.
        steps_done: steps of this epoch that are done.
        loss_sum: sum of the epoch's mean losses so far, each times its step's images; on the device.
        should_stop: a callback sets it to end the phase after this epoch.
        history: the logs of every epoch so far, each with its phase's name.
        seconds: the duration of each of those epochs, evaluation included.
    """

    def __init__(
        self,
        model: Classifier,
        preprocessing: Preprocessing,
        train: ImageSet,
        val: ImageSet,
        config: LoopConfig,
        callbacks: Sequence[Callback] = (),
        device: str = "cpu",
        workers: Workers = ALONE,
    ) -> None:
        self.model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.normalisation = Normalisation(preprocessing).to(device)
        self.train = train
        self.val = val
        self.config = config
        self.callbacks = list(callbacks)
        self.augmentation = augmentation(config.augmentation)
        self.device = device
        self.workers = workers
        self.num_classes = int(max(train.labels.max(), val.labels.max())) + 1
        weights = (
            class_weights(train.labels, self.num_classes)
            if config.balance == "loss"
            else np.ones(self.num_classes, np.float32)
        )
        self.class_weights = torch.from_numpy(weights).to(device)
        self.scaler = torch.amp.GradScaler(device, enabled=config.precision == "float16")
        self.phases: Sequence[Phase] = ()
        self.optimizer: torch.optim.Optimizer = torch.optim.AdamW([torch.zeros(1)])
        self.ema: AveragedModel | None = None
        self.phase_index = 0
        self.epoch = 0
        self.steps_done = 0
        self.loss_sum = torch.zeros((), device=device)
        self.should_stop = False
        self.history: list[dict[str, Any]] = []
        self.seconds: list[float] = []

    @property
    def phase(self) -> Phase:
        """The phase that runs now."""
        return self.phases[self.phase_index]

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one epoch of this phase."""
        return 1 if self.phase.cached_features else -(-len(self.train) // self.config.batch_size)

    @property
    def evaluated(self) -> Classifier:
        """The network that is evaluated and kept: the moving average if there is one."""
        kept: Any = self.model if self.ema is None else self.ema.module
        return cast(Classifier, kept)

    def fit(self, phases: Sequence[Phase], resume: dict[str, Any] | None = None) -> None:
        """Runs the phases in order.

        Args:
            phases: at least one.
            resume: the `state_dict` of an earlier run with the same data and settings.
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
        """uint8 (N, H, W, C) → logits (N, classes), in eval mode, float32."""
        return np.concatenate([logits.float().cpu().numpy() for logits in self._through(self.evaluated, images)])

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed run needs, after any step or epoch."""
        return {
            "model": self.model.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "phase_index": self.phase_index,
            "epoch": self.epoch,
            "steps_done": self.steps_done,
            "loss_sum": self.loss_sum,
            "should_stop": self.should_stop,
            "history": self.history,
            "seconds": self.seconds,
            "callbacks": {type(callback).__name__: callback.state_dict() for callback in self.callbacks},
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        for name in ("phase_index", "epoch", "steps_done", "should_stop", "history", "seconds"):
            setattr(self, name, state[name])
        self.loss_sum = state["loss_sum"].to(self.device)
        self.model.load_state_dict(state["model"])
        for callback in self.callbacks:
            if own := state["callbacks"].get(type(callback).__name__):  # none if it is new in the resumed run
                callback.load_state_dict(own)
        self._begin_phase()
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.scaler.load_state_dict(state["scaler"])
        self.optimizer.load_state_dict(state["optimizer"])
        # The fused optimizer needs the same memory layout for a parameter and its moments.
        for parameter, moments in self.optimizer.state.items():
            for name, tensor in moments.items():
                if torch.is_tensor(tensor) and tensor.shape == parameter.shape:
                    moments[name] = torch.empty_like(parameter).copy_(tensor)

    def _begin_phase(self) -> None:
        set_trainable(self.model, self.phase)
        self.optimizer = make_optimizer(
            self.config.optimizer, parameter_groups(self.model, self.phase, self.config.weight_decay)
        )
        self.ema = (
            None
            if self.config.ema_decay is None
            else AveragedModel(self.model, multi_avg_fn=_moving_average(self.config.ema_decay))
        )

    def _run_phase(self, resumed: bool) -> None:
        if not resumed:
            self._begin_phase()
            self._call("on_phase_begin")
        while self.epoch < self.phase.epochs and not self.should_stop:
            started = time.monotonic()
            self._call("on_epoch_begin")
            train_loss = self._fit_cached() if self.phase.cached_features else self._train_one_epoch()
            logs = {"train_loss": train_loss} | self._evaluate()
            logs["learning_rate"] = self.optimizer.param_groups[0]["lr"]
            self.epoch += 1
            self.steps_done, self.loss_sum = 0, torch.zeros_like(self.loss_sum)
            self.history.append({"phase": self.phase.name, "epoch": self.epoch} | logs)
            self.seconds.append(time.monotonic() - started)
            self._call("on_epoch_end", logs)
        self.model.load_state_dict(self.evaluated.state_dict())
        self._call("on_phase_end")

    def _train_one_epoch(self) -> float:
        set_train_mode(self.model, self.phase)
        position = [self.config.seed, self.phase_index, self.epoch]
        steps = epoch_steps(self.train.labels, self.config.batch_size, self.config.balance, position)
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        while self.steps_done < len(steps):
            # The rank is part of the seed, because each process draws for its own images.
            place = [*position, self.steps_done, self.workers.rank]
            self._seed_generators(int(np.random.SeedSequence(place).generate_state(1)[0]))
            self._step(steps[self.steps_done], learning)
            self.steps_done += 1
            self._call("on_step_end")
        self.workers.align(self.model)
        return float(self.loss_sum) / len(self.train)

    def _seed_generators(self, seed: int) -> None:
        """As torch.manual_seed, which would also format a stack trace each time: 1.3 ms per step."""
        torch.default_generator.manual_seed(seed)
        if self.device == "cuda":
            torch.cuda.manual_seed(seed)

    def _step(self, chosen: Indices, learning: list[torch.nn.Parameter]) -> None:
        """One update of the weights from these training images; this process computes its share of them."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros_like(self.loss_sum)
        mine = chosen[self.workers.rank :: self.workers.size]
        for piece in np.array_split(mine, self.config.accumulate):
            if len(piece):
                total += self._backward(piece, len(chosen))
        self.workers.add_gradients(learning)
        if self.config.clip_norm is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(learning, self.config.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.model)
        self.loss_sum += self.workers.add(total) * len(chosen)

    def _backward(self, piece: Indices, count: int) -> torch.Tensor:
        """Adds the gradients of these images' share of a mean over `count` images; returns their share of the loss."""
        pixels, labels = self._to_device(self.train.images[piece]), self._to_device(self.train.labels[piece])
        if self.augmentation is None:
            images = self.normalisation(pixels)
        else:
            images = self.normalisation(self.augmentation.on_pixels(pixels))
            images, labels = self.augmentation.on_values(images, labels, self.num_classes)
        with self._autocast():
            loss = self._loss(self.model(images), labels) / count
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The sum of the losses; labels are (N,), or (N, classes) if images were mixed."""
        return functional.cross_entropy(
            logits.float(),
            labels,
            weight=self.class_weights,
            reduction="sum",
            label_smoothing=self.config.label_smoothing,
        )

    def _fit_cached(self) -> float:
        """Phase 0; see `training.loop.features`."""
        set_trainable(self.model, self.phase)
        train, val = (
            torch.cat(list(self._through(self.model.backbone, part.images))) for part in (self.train, self.val)
        )
        labels, val_labels = (self._to_device(part.labels) for part in (self.train, self.val))
        torch.manual_seed(self.config.seed)
        weights = self.class_weights
        if self.config.balance == "sampler":  # weights have the same effect on average as drawing
            weights = torch.from_numpy(class_weights(self.train.labels, self.num_classes)).to(self.device)

        def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            summed = functional.cross_entropy(
                logits, targets, weights, reduction="sum", label_smoothing=self.config.label_smoothing
            )
            return summed / len(targets)

        result = fit_head(self.model.head, train.float(), labels, val.float(), val_labels, loss)
        self.workers.align(self.model)
        if self.ema is not None:
            self.ema.module.load_state_dict(self.model.state_dict())
        self.steps_done = 1
        self._call("on_step_end")
        return result

    def _evaluate(self) -> Logs:
        logits = self.predict(self.val.images)
        return {
            "val_loss": negative_log_likelihood(logits, self.val.labels),
            "val_acc@1": accuracy(logits, self.val.labels),
        }

    def _through(self, module: torch.nn.Module, images: npt.NDArray[np.uint8]) -> Iterator[torch.Tensor]:
        """Runs images through a part of the network, in eval mode and in batches, shared among the workers."""
        module.eval()
        mine = images[self.workers.share(len(images))]
        with torch.inference_mode(), self._autocast():
            size = _EVALUATION_BATCH[self.device]
            batches = [
                module(self.normalisation(self._to_device(mine[start : start + size])))
                for start in range(0, len(mine), size)
            ]
        if self.workers.size == 1:
            yield from batches
        else:
            yield self.workers.gather(torch.cat(batches).float(), len(images))

    def _autocast(self) -> torch.autocast:
        lower = self.config.precision != "float32"
        return torch.autocast(
            self.device, getattr(torch, self.config.precision) if lower else torch.bfloat16, enabled=lower
        )

    def _to_device(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _call(self, hook: str, *arguments: Logs) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self, *arguments)


def _moving_average(decay: float) -> Any:
    """For AveragedModel: averaged ← averaged + (1 - d)·(current - averaged), where d grows from 0.1 to `decay`.

    A small d at the beginning lets short runs forget their first weights:
    https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage
    """

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], count: torch.Tensor | int) -> None:
        share = 1 - min(decay, (1 + int(count)) / (10 + int(count)))
        for kept, now in zip(averaged, current, strict=True):
            kept.lerp_(now, share)

    return update
