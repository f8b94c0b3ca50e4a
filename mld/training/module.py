"""What the training of tokenizers, generators and evaluators shares: named losses, optimisation, averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from mld.errors import ConfigError, MldError, nearest
from mld.example import CaptionedClip
from mld.models.contracts.network import Network
from mld.training.averaging import AveragedWeights, taken_from_old
from mld.training.optimization import make_optimizer, make_scheduler
from mld.training.parallel import shard, whole
from mld.training.run_config import TrainingConfig

if TYPE_CHECKING:
    from mld.motion.motion import Motion

MONITOR = "monitor/"


@dataclass
class Samples:
    """What a validation shows: motions with their titles, and lines of text."""

    motions: list[Motion] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


class TrainingModule(LightningModule):
    """Trains `network`, whose `loss(batch, progress)` names its terms. weights: by term, over the network's own."""

    def __init__(self, network: Network, training: TrainingConfig, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.network = network
        self.averaged = AveragedWeights(network, training.ema) if training.ema is not None else None
        self.settings = training
        self.weights = {**getattr(network, "loss_weights", {}), **weights}
        self._chosen = set(weights)
        self._loaded_averages: Mapping[str, Any] | None = None
        self._losses: list[Tensor] = []  # of the batches of this step so far

    @property
    def evaluated(self) -> Network:
        """The network, as it is validated: with averaged weights, if there are such, while `evaluating`."""
        return self.network

    @property
    def progress(self) -> float:
        """How far training is, 0 to 1."""
        return self.global_step / self.settings.max_steps

    @contextlib.contextmanager
    def averaging(self) -> Iterator[None]:
        """Within the block the network has the weights that are exported: the averaged ones, if there are such."""
        with self.averaged.applied() if self.averaged is not None else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Within the block the network is as it is validated: with the weights of `averaging`, whole in each process.

        All processes have to enter and to leave it."""
        with self.averaging(), whole(self.network):
            yield

    def configure_model(self) -> None:
        """Cut the network into shards where the strategy wants it; called once the processes know each other."""
        if (mesh := self.device_mesh) is not None:
            shard(self.network, mesh["data_parallel"], self.settings.parallel.precision == "bf16-mixed")

    def show(self, clips: Sequence[CaptionedClip]) -> Samples:
        """Samples for the eye, made from validation clips. Subclasses say what they show."""
        return Samples()

    def total(self, terms: Mapping[str, Tensor]) -> Tensor:
        """Sum of the terms times their weights (1 where none is given); `ConfigError` for a weight of no term."""
        for name in self._chosen:
            if name not in terms:
                known = [term for term in terms if not term.startswith(MONITOR)]
                raise ConfigError(f"losses: there is no loss '{name}'; {nearest(name, known)}")
        losses = {name: value for name, value in terms.items() if not name.startswith(MONITOR)}
        return torch.stack([self.weights.get(name, 1.0) * value for name, value in losses.items()]).sum()

    def record(self, split: str, terms: Mapping[str, Tensor | float], size: int) -> None:
        """Log terms as `<split>/<name>`; size: items in the batch."""
        named = {f"{split}/{name.removeprefix(MONITOR)}": value for name, value in terms.items()}
        self.log_dict(named, batch_size=size, sync_dist=split == "val", on_step=split == "train")

    def on_train_start(self) -> None:
        """A network that comes from a model folder is in eval mode, and the trainer leaves modes alone."""
        self.network.train()
        self._take_averages()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.averaged is not None:
            checkpoint["averaged"] = self.averaged.state_dict(getattr(self.trainer.strategy, "sharded", False))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Averages are taken over when the network is in its place."""
        recount(checkpoint, self.settings.accumulate)
        self._loaded_averages = taken_from_old(checkpoint) or checkpoint.get("averaged")

    def _take_averages(self) -> None:
        if self.averaged is not None and self._loaded_averages is not None:
            self.averaged.load_state_dict(self._loaded_averages)
        self._loaded_averages = None

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Weights and averages of a checkpoint, without a trainer."""
        self.on_load_checkpoint(checkpoint)
        self.load_state_dict(checkpoint["state_dict"])
        self._take_averages()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        terms = self.network.loss(batch, self.progress)
        total = self.total(terms)
        if not torch.isfinite(total):
            raise MldError(
                f"the loss is {total.item()} at step {self.global_step}; lower the learning rate"
                " (training.optimizer.params.lr), set training.gradient_clip, or check the data (prepare.data doctor)"
            )
        self.record("train", terms, self.batch_size(batch))
        self._record_loss(total.detach(), batch_idx, self.batch_size(batch))
        return total

    def _record_loss(self, loss: Tensor, batch_idx: int, size: int) -> None:
        """`train/loss` of the whole step: the mean over accumulated batches and processes. Terms are those of the last
        batch of the first process, as batches may differ in what terms they have."""
        if batch_idx % self.settings.accumulate == 0:
            self._losses.clear()
        self._losses.append(loss)
        self.log("train/loss", torch.stack(self._losses).mean(), batch_size=size, sync_dist=True, on_step=True)

    def batch_size(self, batch: Any) -> int:
        return len(batch)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = make_optimizer(self.network, self.settings.optimizer, self.settings.parallel.precision)
        scheduler = make_scheduler(optimizer, self.settings.scheduler, self.settings.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.averaged is not None:
            self.averaged.update()


def recount(checkpoint: dict[str, Any], accumulate: int) -> None:
    """Count the batches of a state as if each step so far had had `accumulate` of them, as the trainer tells by their
    number when a step is done and when to validate. Which items have been used does not change."""
    data, batches = checkpoint.get("TrainingData", {}), checkpoint.get("global_step", 0) * accumulate
    if "items" not in data or data["batches_used"] == batches:
        return
    data["batches_used"] = batches
    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    for counts in (progress["total"], progress["current"]):
        counts.update(dict.fromkeys(counts, batches))
