"""What requests bring, with examples for the page `/docs`. FastAPI checks types; bounds are checked where they are
used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

STRICT = {"extra": "forbid"}  # a misspelt name is told, not passed over


@dataclass
class Generate:
    """text: what happens. task: one of /v1/models, "" for what fits the number of motions. motions: that are given, as
    objects {"fps", "joints"} or files {"format", "content"}. seconds: of the whole, none lets the model decide.
    samples: answers with seeds that count up. format: json, npz, bvh, glb, ...; names: of the joints in files, own,
    mixamo or unreal. model: one of /v1/models, "" for the best."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    text: str = ""
    task: str = ""
    motions: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    seed: int = 0
    samples: int = 1
    format: str = "json"
    names: str = "own"
    model: str = ""


@dataclass
class Describe:
    """motion: as in `Generate`. text: a question about it, "" for a caption."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    motion: dict[str, Any]
    text: str = ""
    seed: int = 0
    model: str = ""


STANDING = {"fps": 20, "skeleton": "smpl22", "joints": [[[0.0, 0.9, 0.0]] * 22] * 2}
GENERATE = {
    "text to motion": {"value": {"text": "a person walks forward", "seconds": 4, "seed": 1}},
    "a file for an avatar": {"value": {"text": "a person jumps", "format": "bvh", "names": "mixamo"}},
    "how a motion goes on": {
        "value": {"motions": [{"format": "bvh", "content": "HIERARCHY ..."}], "seconds": 8},
        "description": "content: the text of the file, or base64 of a binary one",
    },
}
DESCRIBE = {"a caption": {"value": {"motion": STANDING}, "description": "joints: frames x joints x 3, metres, y up"}}
