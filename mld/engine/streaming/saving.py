"""A session as a file: everything that the next token follows from, so that it goes on to the bit.

A safetensors file: tensors of the family's row, of the decoder and of the place in the world, and a description as
metadata. Nothing in it is run when it is read. It belongs to the weights that made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from mld.engine.streaming.session import Session
from mld.engine.streaming.streamer import Streamer
from mld.errors import DataError, RequestError
from mld.files import atomically, parse_json, write_tensors
from mld.models.fingerprint import tensor_hash

FORMAT = "1"


def held(batcher: Streamer, session: Session) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and plain values of a session."""
    with batcher.alone():
        tensors, more = batcher.held(session)
        plain = {"seed": session.seed, "end": session.end, "texts": list(session.texts), "made": session.made, **more}
        return {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, plain


def take_up(batcher: Streamer, tensors: dict[str, torch.Tensor], plain: dict[str, Any]) -> Session:
    """A session out of what `held` gave, in a free place."""
    with batcher.alone():
        session = batcher.place(plain["seed"], plain["end"])
        try:
            session.texts = [(int(frame), str(text)) for frame, text in plain["texts"]]
            session.made = int(plain["made"])
            session.taken = session.frames
            batcher.restore(session, tensors, plain)
        except BaseException:
            batcher.close(session)
            raise
        return session


def save_session(batcher: Streamer, session: Session, path: str | Path) -> Path:
    """Write a session; `RequestError` for one that has ended."""
    if session.ended:
        raise RequestError("the session has ended; there is nothing to go on with")
    tensors, plain = held(batcher, session)
    session_text = json.dumps(plain, ensure_ascii=False)
    content = {"format": FORMAT, "model": fingerprint(batcher), "session": session_text}
    with atomically(path) as new:  # an older file stays until this one is whole
        write_tensors(new, tensors, {**content, "check": _check(tensors, session_text)})
    return Path(path)


def load_session(batcher: Streamer, path: str | Path) -> Session:
    """Go on with a session of this model; `DataError` for what is none, or belongs to other weights."""
    try:
        with safe_open(path, "pt") as file:
            content = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
        plain, check = parse_json(content["session"]), content["check"]
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged or not a saved session") from error
    if content.get("format") != FORMAT:
        raise DataError(f"{path}: a session of format {content.get('format')}; this version reads {FORMAT}")
    if content.get("model") != fingerprint(batcher):
        raise DataError(f"{path}: the session of another model; open it with the one that it was made with")
    if check != _check(tensors, content["session"]):
        raise DataError(f"{path}: damaged; what it holds is not what was saved")
    if not all(value.isfinite().all() for value in tensors.values()):
        raise DataError(f"{path}: the session holds NaN or infinity")
    try:
        return take_up(batcher, tensors, plain)
    except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
        raise DataError(f"{path}: damaged or not a session of this model") from error


def _check(tensors: Mapping[str, torch.Tensor], session: str) -> str:
    """By what damage is seen: a bit that was turned over would change the motion, and nothing else."""
    digest = hashlib.sha256(session.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())  # every bit: places in the world are float64
    return digest.hexdigest()


def fingerprint(batcher: Streamer) -> str:
    """By what the weights of a model are known."""
    return tensor_hash(batcher.model.state_dict().items())[:32]
