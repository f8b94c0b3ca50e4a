"""All clips as motion tokens, made once with the frozen tokenizer before a generator is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.errors import CheckpointError
from mld.example import CaptionedClip
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.training.latent_cache import posteriors
from mld.training.tokenizer_module import pad_clips

BATCH = 64


@torch.no_grad()
def tokenize(tokenizer: MotionTokenizer, clips: Sequence[CaptionedClip]) -> dict[str, Tensor]:
    """Tokens (L,) on the CPU by clip name; where a clip is one set of latents, its posterior (2, S, C). The clips are
    encoded as one batch."""
    if not clips:
        return {}
    if tokenizer.layout.frames_per_token == 0:
        return dict(zip([clip.name for clip in clips], posteriors(tokenizer, [clip.features for clip in clips])))
    device = tokenizer.device
    batch = pad_clips(clips, tokenizer.layout.frames_per_token).to(device)
    tokens, mask = tokenizer.encode(batch.features, batch.mask)
    return {clip.name: row[real].cpu() for clip, row, real in zip(clips, tokens, mask)}


def tokenize_source(tokenizer: MotionTokenizer, source: ClipSource, title: str) -> dict[str, Tensor]:
    """Tokens of every clip of a source, clips of similar length together, under a progress bar.

    `CheckpointError` when all of many clips give one and the same token: such a tokenizer was never trained."""
    order = sorted(range(len(source)), key=source.num_frames)
    tokens: dict[str, Tensor] = {}
    tokenizer.eval()
    with tqdm(total=len(order), desc=title, unit="clip", leave=False) as bar:
        for first in range(0, len(order), BATCH):
            clips = [source[i] for i in order[first : first + BATCH]]
            tokens |= tokenize(tokenizer, clips)
            bar.update(len(clips))
    if len(order) > 1 and tokenizer.layout.codebook_size > 1 and len(torch.cat(list(tokens.values())).unique()) == 1:
        raise CheckpointError("the tokenizer gives the same token for every frame of every clip; train it first")
    return tokens
