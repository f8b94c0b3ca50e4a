"""How fast a run trains: items per second of all processes, and model FLOPs utilisation (MFU).

MFU is what the network's matrix products need per second, as a share of what the device can do (Chowdhery et al. 2022,
PaLM, appendix B). They are counted by torch in one loss of the first batch, without gradients, and taken times three,
as a backward pass has two products for each; later batches are taken to need as much per padded frame. What activation
checkpointing computes twice does not count, and neither do frozen parts, whose tokens are read from disk.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from mld.training.module import TrainingModule

# Dense TFLOP/s of matrix products in bfloat16, float16 and float32, from the makers' data sheets; 0: not by the matrix
# units. A name is looked for in that of the device, from the top.
PEAKS: dict[str, tuple[float, float, float]] = {
    "H200 NVL": (835, 835, 60), "H200": (989, 989, 67),
    "H100 NVL": (835, 835, 60), "H100 PCIe": (756, 756, 51), "H100": (989, 989, 67),
    "A100": (312, 312, 19.5), "L40S": (362, 362, 91.6), "RTX 4090": (165, 165, 82.6), "RTX 3090": (71, 71, 35.6),
    "V100": (0, 125, 15.7), "T4": (0, 65, 8.1), "MI300X": (1307, 1307, 163),
}  # fmt: skip
COLUMNS = {"bf16-mixed": 0, "bf16-true": 0, "16-mixed": 1, "32-true": 2}
SPEED, USED = "speed/samples_per_second", "speed/mfu"  # in `metrics.csv` and the other loggers


def peak_tflops(device: str, precision: str) -> float | None:
    """What a device of that name can do at most in a precision of `training.parallel`; none where it is not known."""
    known = next((peaks for name, peaks in PEAKS.items() if name.lower() in device.lower()), None)
    return (known[COLUMNS[precision]] or None) if known else None


class Throughput(Callback):
    """Measures steps without what stands between them: validations, pictures, checkpoints. Stands before what seeds."""

    def __init__(self, peak: float | None = None) -> None:
        self.peak = peak  # TFLOP/s of a process
        self._begun = 0.0
        self._seconds = 0.0
        self._items = self._frames = 0
        self._between = True
        self._flops_per_frame: float | None = None

    def on_train_start(self, trainer: Trainer, module: TrainingModule) -> None:
        if self.peak is None and trainer.strategy.root_device.type == "cuda":
            name = torch.cuda.get_device_name(trainer.strategy.root_device)
            self.peak = peak_tflops(name, module.settings.parallel.precision)

    def on_train_batch_start(self, trainer: Trainer, module: TrainingModule, batch: Any, idx: int) -> None:
        if self.peak is not None and self._flops_per_frame is None:
            self._flops_per_frame = 3 * count_flops(module, batch) / max(1, padded_frames(batch))
            self._between = True
        if self._between:
            self._begun, self._between = time.perf_counter(), False

    def on_train_batch_end(self, trainer: Trainer, module: TrainingModule, outputs: Any, batch: Any, idx: int) -> None:
        now = time.perf_counter()
        self._seconds, self._begun = self._seconds + now - self._begun, now
        self._items += module.batch_size(batch) * trainer.world_size
        self._frames += padded_frames(batch)
        if (idx + 1) % trainer.accumulate_grad_batches or trainer.global_step % trainer.log_every_n_steps:
            return
        seconds, items, frames = max(self._seconds, 1e-9), self._items, self._frames
        self._seconds, self._items, self._frames = 0.0, 0, 0
        module.log(SPEED, items / seconds, rank_zero_only=True, on_step=True)
        if self.peak is not None and self._flops_per_frame is not None:
            used = self._flops_per_frame * frames / seconds / (1e12 * self.peak)
            module.log(USED, used, rank_zero_only=True, on_step=True)

    def on_validation_start(self, trainer: Trainer, module: TrainingModule) -> None:
        self._between = True

    def on_save_checkpoint(self, trainer: Trainer, module: TrainingModule, checkpoint: dict[str, Any]) -> None:
        self._between = True


def padded_frames(batch: Any) -> int:
    """Frames of a batch as the network sees them, all rows as long as the longest; items where that is not known."""
    if (mask := getattr(batch, "mask", None)) is not None:
        return int(mask.numel())
    lengths = [getattr(item, "num_frames", 0) or 1 for item in batch] if isinstance(batch, (list, tuple)) else []
    return len(lengths) * max(lengths, default=0)


@torch.no_grad()
def count_flops(module: TrainingModule, batch: Any) -> int:
    """Floating-point operations of the matrix products and convolutions of one loss. Changes nothing: neither what is
    learnt (the network is in eval mode) nor the random numbers that follow (they are seeded afterwards)."""
    modes = {part: part.training for part in module.network.modules()}
    module.network.eval()
    on_cpu = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}  # torch knows those of GPUs
    counter = FlopCounterMode(display=False, custom_mapping=on_cpu)
    try:
        with torch.compiler.set_stance("force_eager"), counter:
            module.network.loss(batch, module.progress)
    finally:
        for part, mode in modes.items():
            part.training = mode
    return counter.get_total_flops()


def _attention(query: Any, keys: Any, values: Any, *args: Any, **kwargs: Any) -> int:
    """Of shapes (B, H, T, D)."""
    return sdpa_flop_count(query, keys, values)
