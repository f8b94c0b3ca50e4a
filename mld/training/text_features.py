"""Text features before training: of all captions where that is reasonable, else of each batch when it comes.

Features of a caption are a vector for each of its tokens: those of a million clips with 20 captions each, of an encoder
of 2,048 columns, take 2 TB. Training sees a caption now and then, and to encode it again costs little beside a step of
a large model. So there is a limit (`text_encoder.most_gb`), beyond which only those are read that somebody has made
(`prepare.text`).
"""

from __future__ import annotations

import sys

import torch
from tqdm import tqdm

from mld.data.clips import ClipSource
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.text_encoders.cache import REMEMBERED_BYTES

MOST_GB = 50.0
BYTES = {"float32": 4, "float16": 2, "none": 0}  # of a number of a token's features
TOKENS_PER_WORD, TOKENS_MORE = 1.4, 2.0  # about, of the usual vocabularies
SAMPLE = 1000


def prepare_text(
    text: TextEncoder, source: ClipSource, device: torch.device | str, tokens: str = "float32",
    most_gb: float = MOST_GB, on_disk: bool = True,
) -> None:  # fmt: skip
    """Compute what is not known of all captions, or say that it is done batch by batch. tokens: how features are kept.
    most_gb: of them, on disk; in memory never more than is remembered."""
    limit = min(most_gb * 1e9, float("inf") if on_disk else REMEMBERED_BYTES)
    each = BYTES[tokens if on_disk else "float32"]
    texts, all_there = captions_within(source, limit, text.width * each, text.sentence_width * 4)
    if all_there:
        text.prepare(texts, device)
        return
    text.encode_as_needed()
    sample = texts[:: max(1, len(texts) // SAMPLE)][:SAMPLE]
    there = len(sample) - len(text.unknown(sample))
    where = f"{there:,} of {len(sample):,} looked for are there" if on_disk else "text_cache=FOLDER keeps them on disk"
    advice = "a batch is encoded when it comes (text_encoder.most_gb; beforehand: python -m prepare.text)"
    _say(f"  texts   features of all captions take more than {limit / 1e9:g} GB; {where}, {advice}")


def captions_within(
    source: ClipSource, limit: float, per_token: float, per_text: float
) -> tuple[list[str], bool]:
    """All captions of a source, each once, and True; as many as have features of `limit` bytes, about, and False."""
    found: dict[str, None] = {}
    size = 0.0
    hidden = len(source) < 100_000 or not sys.stderr.isatty()
    for index in tqdm(range(len(source)), desc="looking at captions", unit="clip", leave=False, disable=hidden):
        for caption in source.captions(index):
            if caption.text not in found:
                found[caption.text] = None
                size += text_bytes(caption.text, per_token, per_text)
        if size > limit:
            return list(found), False
    return list(found), True


def text_bytes(text: str, per_token: float, per_text: float) -> float:
    """Bytes of its features, about: no tokenizer is opened for it."""
    return (TOKENS_PER_WORD * len(text.split()) + TOKENS_MORE) * per_token + per_text


def _say(line: str) -> None:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only  # slow, and of use in training alone

    if rank_zero_only.rank == 0:
        print(line, flush=True)
