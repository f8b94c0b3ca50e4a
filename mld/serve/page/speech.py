"""Spoken requests: a Whisper model of the user's, in a folder of the Transformers layout, opened at the first word.

Other languages than English are translated, if the model can. Recordings are WAV files of any rate.
"""

from __future__ import annotations

from functools import cached_property
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np

from mld.errors import CheckpointError, DataError
from mld.weight_files import UNREADABLE, check_finite, check_folder, check_loaded

RATE = 16_000  # samples per second that Whisper hears
LONGEST = 30  # seconds
HINT = "Speech input: start with <code>--speech FOLDER</code>."


class Listener:
    """folder: of the model. `CheckpointError` when there is none; the weights are read when they are needed."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        if not (self.folder / "config.json").is_file():
            raise CheckpointError(f"--speech {folder}: no Whisper model there (a folder with config.json and weights)")

    def __call__(self, recording: str | Path) -> str:
        """What is said in a recording, in English where the model translates."""
        import torch

        processor, model = self._parts
        sound = heard(recording)
        inputs = processor(sound, sampling_rate=RATE, return_tensors="pt")
        translate = {"task": "translate"} if getattr(model.generation_config, "is_multilingual", False) else {}
        with torch.inference_mode():
            ids = model.generate(inputs.input_features, **translate)
        return processor.batch_decode(ids, skip_special_tokens=True)[0].strip()

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        try:
            processor = WhisperProcessor.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
            check_folder(self.folder)
            model, report = WhisperForConditionalGeneration.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
            check_loaded(report, "its weights")
            check_finite(model.state_dict().items(), "its weights")
        except (*UNREADABLE, CheckpointError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{self.folder.name}: not a Whisper model that can be opened ({reason})") from error
        return processor, model.eval()


def heard(recording: str | Path) -> np.ndarray:
    """A WAV file as one channel at 16 kHz, float32 in -1..1. `DataError` for other files and for long ones."""
    from scipy.io import wavfile
    from scipy.signal import resample_poly

    try:
        rate, sound = wavfile.read(recording)
    except (ValueError, EOFError, OSError) as error:
        raise DataError("The recording is not a WAV file that can be read; please record again.") from error
    if not len(sound) or len(sound) > LONGEST * rate:
        raise DataError(f"The recording lasts {len(sound) / rate:.0f} s; say it in less than {LONGEST} s.")
    scale = np.iinfo(sound.dtype).max if np.issubdtype(sound.dtype, np.integer) else 1.0
    mono = sound.astype(np.float32).reshape(len(sound), -1).mean(axis=1) / scale
    common = gcd(rate, RATE)
    return resample_poly(mono, RATE // common, rate // common).astype(np.float32)
