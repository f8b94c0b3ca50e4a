"""What requests bring, with examples for the page `/docs`. FastAPI checks types; bounds are checked where they are
used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from mld.engine.body import body_offsets
from mld.motion.skeletons import get_skeleton

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


def _standing() -> dict[str, Any]:
    """A motion that can be asked about: the body with its arms held out, on the floor, for 0.4 s."""
    skeleton = get_skeleton("smpl22")
    offsets, places = body_offsets(skeleton).tolist(), [[0.0, 0.0, 0.0]]
    for joint, parent in enumerate(skeleton.parents[1:], 1):
        places.append([a + b for a, b in zip(places[parent], offsets[joint])])
    lowest = min(y for _, y, _ in places)
    pose = [[round(x, 3), round(y - lowest, 3), round(z, 3)] for x, y, z in places]
    return {"fps": 20, "skeleton": "smpl22", "joints": [pose] * 8}


STANDING = _standing()
GENERATE = {
    "text to motion": {"value": {"text": "a person walks forward", "seconds": 4, "seed": 1}},
    "a file for an avatar": {"value": {"text": "a person jumps", "format": "bvh", "names": "mixamo"}},
    "how a motion goes on": {
        "value": {"motions": [STANDING], "seconds": 3},
        "description": 'or a file, {"format": "bvh", "content": "HIERARCHY ..."}: its text, or base64 of a binary one',
    },
}
DESCRIBE = {"a caption": {"value": {"motion": STANDING}, "description": "joints: frames x joints x 3, metres, y up"}}
