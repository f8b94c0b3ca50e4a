"""What a request has to be before anything is made of it: whole numbers, words that can be read, clips that fit the
model's representation and tokens. One line in a `RequestError` for what is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor

from mld.engine.request import Request
from mld.errors import RequestError, TooLong, nearest
from mld.example import Clip, Reference, Segment, Text
from mld.models.contracts.generator import Output, Shape
from mld.models.contracts.tokens import TokenLayout
from mld.motion.representations.base import Representation

LONGEST = 10**9  # frames that can be asked for; what a model can make is far below
SEEDS = range(-(2**63), 2**64)  # what a generator of random numbers can be started with


def frames_in(seconds: float, fps: float) -> int:
    """Frames of so many seconds. `RequestError` where that is none, or more than can be asked for."""
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
        raise RequestError(f"a motion of {seconds!r} seconds is wanted; give a number above 0")
    return check_frames(seconds * fps, f"{seconds:g} s")


def check_frames(frames: float, written: str) -> int:
    """The whole number nearest to `frames`, of a length that was written so. `RequestError` for none and for more than
    anything can make."""
    if not frames < LONGEST:
        raise RequestError(f"a length of {written} is more than anything can make; write #120 or #6s, or fewer seconds")
    if round(frames) < 1:
        raise RequestError(f"a length of {written} leaves no frame; write for example #120 or #6s, or more seconds")
    return round(frames)


def check_request(request: Request, representation: Representation, layout: TokenLayout) -> tuple[Clip, ...]:
    """The clips of a request that is well formed; `check_length` is left to be asked about them."""
    if request.output not in get_args(Output):
        raise RequestError(f"the output '{request.output}' is unknown; {nearest(request.output, get_args(Output))}")
    if not _whole(request.seed) or request.seed not in SEEDS:
        raise RequestError(f"the seed {request.seed!r} is none; a seed is a whole number from -2^63 to 2^64 - 1")
    if request.num_frames is not None and not _whole(request.num_frames):
        raise RequestError(f"{request.num_frames!r} frames are wanted; that has to be a whole number")
    if request.num_frames is not None and request.num_frames < 1:
        raise RequestError(f"{request.num_frames} frames are wanted; at least 1 is needed")
    texts = [part.text for part in request.prompt if isinstance(part, Text)]
    clips = tuple(part for part in request.prompt if isinstance(part, Clip))
    for text in texts:
        _check_text(text)
    references = any(isinstance(part, Reference) for part in request.prompt)
    if not clips and not references and not any(text.strip() for text in texts):
        raise RequestError("the prompt is empty; give a text or a motion")
    for clip in clips:
        _check_content(clip, representation, layout)
    for part in request.prompt:
        if isinstance(part, Reference):
            _check_features(part.features, representation)
    return clips


def check_clip(clip: Clip, representation: Representation, layout: TokenLayout) -> None:
    """`RequestError` for a clip that the tokenizer cannot read: another width, NaN, too short, tokens of another kind;
    `TooLong` for one that is too long."""
    _check_content(clip, representation, layout)
    check_length(clip, layout)


def _check_content(clip: Clip, representation: Representation, layout: TokenLayout) -> None:
    if clip.features is None and clip.tokens is None:
        raise RequestError("a motion of the prompt has neither features nor tokens")
    if clip.features is not None:
        _check_features(clip.features, representation)
    if clip.joints is not None:
        _check_joints(clip, representation)
    if clip.tokens is not None:
        _check_tokens(clip.tokens, layout)


def check_length(clip: Clip, layout: TokenLayout) -> None:
    """`RequestError` for a clip that is too short for the tokenizer, `TooLong` for one that is too long."""
    if clip.tokens is not None:
        return
    if len(clip.features) < layout.shortest:
        raise RequestError(f"the motion has {len(clip.features)} frames; at least {layout.shortest} are needed")
    if 0 < layout.longest < len(clip.features):
        raise TooLong(f"the motion has {len(clip.features)} frames; this model reads at most {layout.longest}")


def in_words(shape: Shape) -> str:
    """What is answered to requests of a shape, such as "motion for words"."""
    given = {0: "words", 1: "the beginning of a motion", 2: "both ends of a motion"}
    words = f"motion for {given.get(shape.clips, 'many motions')}"
    if shape.output == "text":
        words = "words for a motion" if shape.clips else "words for words"
    return words + (" and a reference" if shape.reference else "")


def readable(prompt: Sequence[Segment]) -> bool:
    """Whether all words of a prompt are text, as `check_request` wants it."""
    try:
        for part in prompt:
            if isinstance(part, Text):
                _check_text(part.text)
    except RequestError:
        return False
    return True


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except AttributeError as error:
        raise RequestError(f"{text!r} is no text; a prompt is made of words and motions") from error
    except UnicodeEncodeError as error:
        raise RequestError(f"the text {ascii(text)} holds bytes that are no characters; write it in UTF-8") from error


def _check_features(features: Tensor, representation: Representation) -> None:
    if features.ndim != 2 or features.shape[1] != representation.width:
        raise RequestError(
            f"the model reads '{representation.name}' features (T, {representation.width}), "
            f"the motion has {tuple(features.shape)}"
        )
    _check_finite(features)


def _check_joints(clip: Clip, representation: Representation) -> None:
    """World positions of the same frames."""
    count, shape = representation.skeleton.num_joints, tuple(clip.joints.shape)
    if len(shape) != 3 or shape[1:] != (count, 3):
        raise RequestError(f"joints (T, {count}, 3) are needed, the motion has {shape}")
    if clip.features is not None and len(clip.features) != len(clip.joints):
        raise RequestError(f"the motion has features of {len(clip.features)} frames and joints of {len(clip.joints)}")
    _check_finite(clip.joints)


def _check_tokens(tokens: Tensor, layout: TokenLayout) -> None:
    """Codes (L,) of the codebook; or vectors (L, C), or their means and log variances (2, L, C)."""
    if layout.codebook_size:
        fits = tokens.ndim == 1 and not tokens.is_floating_point()
        wanted = f"codes (L,) from 0 to {layout.codebook_size - 1}"
    else:
        per_clip = (tokens.shape[-2:-1] == (layout.tokens_per_clip,)) if layout.tokens_per_clip else True
        fits = tokens.ndim in (2, 3) and tokens.shape[-1] == layout.channels and tokens.is_floating_point() and per_clip
        wanted = f"vectors ({layout.tokens_per_clip or 'L'}, {layout.channels})"
    if not fits:
        raise RequestError(f"the model's tokens are {wanted}, the motion has {tokens.dtype} {tuple(tokens.shape)}")
    if not tokens.numel():
        raise RequestError("a motion of the prompt has no tokens")
    if layout.codebook_size and not 0 <= int(tokens.min()) <= int(tokens.max()) < layout.codebook_size:
        raise RequestError(f"the model's tokens are {wanted}, the motion has {int(tokens.min())} to "
                           f"{int(tokens.max())}")  # fmt: skip
    _check_finite(tokens)


def _check_finite(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise RequestError("the motion holds NaN or infinity")


def _whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
