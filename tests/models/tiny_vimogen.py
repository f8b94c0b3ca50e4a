"""A tiny random ViMoGen over frames of 276 columns."""

from __future__ import annotations

import torch

from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.model import ViMoGen
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.motion import Motion
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from tests.models.tiny_million import HashedWords
from tests.walking import walker

COLUMNS = get_representation("motion276")
SIZES = {"size": "tiny", "layers": 2, "heads": 2, "width": 32, "ffn": 48, "reference_layers": 1, "time_waves": 16}


def walk(frames: int = 60, turning: float = 0.02) -> Motion:
    return Motion(walker(frames, turning=turning), 20.0)


def rows(frames: int = 60, turning: float = 0.02) -> torch.Tensor:
    """Features of a walk, (frames, 276)."""
    return COLUMNS.encode(walk(frames + 1, turning))


def tiny_vimogen(seed: int = 0, text=None, **config) -> ViMoGen:
    """config: of `ViMoGenConfig`. Statistics are those of a walk."""
    statistics = Normalizer.fit_columns([rows(100)], COLUMNS)
    statistics = Normalizer(statistics.mean, statistics.std.clamp(min=0.02), "fitted")
    torch.manual_seed(seed)
    settings = ViMoGenConfig(**{**SIZES, "text_rows": 8, "num_inference_steps": "4", **config})
    parts = {"tokenizer": Frames(FramesConfig("motion276"), statistics), "text": text or HashedWords()}
    return ViMoGen.create(settings, parts, []).eval()
