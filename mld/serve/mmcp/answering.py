"""Answers requests of the contract: what a model can do, and motion on the client's skeleton."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import torch

from mld.engine.pipeline import Pipeline
from mld.errors import DataError, RequestError, shown
from mld.motion.motion import Motion
from mld.motion.rig.onto import carry_onto
from mld.motion.rig.retarget import to_smpl22
from mld.motion.rig.rig import RigMotion
from mld.serve.mmcp.keyframes import Keyframe, pinned
from mld.serve.mmcp.making import HELD, Check, Made, Wanted, held_pose, make
from mld.serve.mmcp.skeleton import Character, canonical, character
from mld.serve.models import Models
from mld.serve.page.forms import LONGEST_TEXT, MOST_SAMPLES

LONGEST = 60.0  # seconds
LARGEST_BODY = 4_000_000  # bytes
MOST_CONSTRAINTS = 256
MOST_BATCH = 8
MOST_TURNS = 2_000_000  # samples x frames x joints of an answer: about 50 MB
RATES = (1.0, 240.0)  # frames per second that a client may ask for
BODY = ("pelvis", *(f"{side}_{part}" for side in "lr" for part in ("hip", "knee", "shoulder", "elbow")))


class Misfit(RequestError):
    """What is wrong with a request, with the contract's word for it."""

    def __init__(self, code: str, said: str) -> None:
        super().__init__(said)
        self.code = code


def about(models: Models, name: str) -> dict[str, Any]:
    """What the contract wants to know of a model: the fields of its `ModelSpec`."""
    outline = models.outline(name)
    longest = outline.most_seconds
    native = outline.model.streams()
    clip = min(longest, LONGEST) if longest else LONGEST
    return {
        "id": name, "fps": outline.representation.fps, "canonical_skeleton": {"joints": canonical()},
        "supports_retargeting": True, "supported_segments": ["text", "unconditioned"],
        "supported_constraints": ["pose_keyframe"], "supported_guidance_types": [],
        "native_clip_seconds": clip, "recommended_max_duration_seconds": clip if not native else LONGEST,
        "chunking": "none" if native else "stitched",
        "limits": {
            "max_duration_seconds": LONGEST, "max_num_samples": MOST_SAMPLES, "max_prompt_length": LONGEST_TEXT,
            "max_constraints_per_request": MOST_CONSTRAINTS, "max_request_bytes": LARGEST_BODY,
            "max_batch_size": MOST_BATCH,
        },
    }  # fmt: skip


def answer(pipeline: Pipeline, request: Any, check: Check) -> dict[str, Any]:
    """The fields of a `MotionResult` for a request that fits the contract and what the model is said to do."""
    options = request.options
    fps = request.fps(pipeline.representation.fps)
    samples, frames = (options.num_samples if options else 1), request.total_frames
    if not RATES[0] <= fps <= RATES[1]:
        raise Misfit("invalid_options", f"timing.fps is {shown(fps)}; {RATES[0]:g} to {RATES[1]:g} can be asked for")
    joints = len(request.skeleton.joints)
    if samples * frames * joints > MOST_TURNS:
        raise Misfit("invalid_options", f"{samples} samples of {frames} frames for {joints} joints are too much for "
                     "one answer; ask for fewer samples or frames")  # fmt: skip
    try:
        body = character(request.skeleton.joints)
        keyframes = [_keyframe(body, one) for one in request.constraints]
        notes, seeds = _seeds(request, samples)
        wanted = _wanted(body, request, fps, seeds, keyframes)
    except DataError as error:
        raise Misfit("invalid_skeleton", str(error)) from error
    made = make(pipeline, wanted, check)
    moved = []
    for one in made:
        check()
        moved.append(pinned(_timed(_carried(one.motion, body), fps, frames), keyframes))
    notes += [_note("model", said) for said in dict.fromkeys(said for one in made for said in one.notes)]
    return _result(body, moved, made, notes)


def _result(body: Character, moved: Sequence[RigMotion], made: Sequence[Made], notes: list[Any]) -> dict[str, Any]:
    frames = moved[0].num_frames
    return {
        "rotations": torch.stack([body.sent(one) for one in moved]).float().numpy(),
        "root_translations": torch.stack([one.translation for one in moved]).float().numpy(),
        "chunk_boundaries": [[join for join in one.joins if 0 < join < frames] for one in made],
        "canonical_to_request": {name: body.names[joint] for name, joint in body.found.joints.items()},
        "notes": notes,
    }


def _carried(motion: Motion, body: Character) -> RigMotion:
    return carry_onto(motion, body.rig, body.found)


def _timed(motion: RigMotion, fps: float, frames: int) -> RigMotion:
    """So many frames at a frame rate; the last pose is held where the motion is a little too short."""
    motion = motion.resample(fps)
    chosen = torch.arange(frames).clamp(max=motion.num_frames - 1)
    return motion.frames(chosen)


def _wanted(body: Character, request: Any, fps: float, seeds: tuple[int, ...], keyframes: Sequence[Keyframe]) -> Wanted:
    frames = request.total_frames
    texts = tuple(" ".join(getattr(one, "prompt", "").split()) for one in request.segments) or ("",)
    for place, one in enumerate(request.segments):
        if one.type == "text" and not texts[place]:
            raise Misfit("invalid_request", f"segments.{place}.prompt: it is empty; write what happens, or make the "
                         "segment 'unconditioned'")  # fmt: skip
    lengths = tuple(one.duration_frames for one in request.segments) or (frames,)
    first = _pose(body, [key for key in keyframes if key.frame == 0], fps)
    last = None if any(texts) or frames < 2 else _pose(body, [key for key in keyframes if key.frame == frames - 1], fps)
    return Wanted(texts, lengths, fps, seeds, first, last)


def _pose(body: Character, keys: Sequence[Keyframe], fps: float) -> Motion | None:
    """The pose that the keyframes of a frame pin, held, where they pin the whole body."""
    turns = {joint: turn for key in keys for joint, turn in key.turns.items()}
    pelvis = body.found.joints.get("pelvis", 0)
    needed = [pelvis if name == "pelvis" else body.found.joints[name] for name in BODY]
    if any(joint not in turns for joint in needed):
        return None
    rig = body.rig
    rotations = torch.eye(3).expand(1, rig.num_joints, 3, 3).clone()
    for joint, turn in turns.items():
        rotations[0, joint] = turn.float()
    position = next((key.position for key in keys if key.position is not None), None)
    place = rig.offsets[0] if position is None else position
    still = RigMotion(rig, rotations, place[None].float(), fps)
    motion, _ = to_smpl22(still.frames(torch.zeros(HELD, dtype=torch.long)), up="y")
    return held_pose(motion, grounded=position is None)


def _keyframe(body: Character, constraint: Any) -> Keyframe:
    index = {name: joint for joint, name in enumerate(body.names)}
    turns = {}
    if constraint.fill_mode == "rest":
        turns = {joint: torch.eye(3, dtype=torch.float64) for joint in range(len(body.names))}
    for name, value in constraint.joint_rotations.items():
        try:
            turns[index[name]] = body.from_rest(index[name], value)
        except DataError as error:
            raise Misfit("invalid_request", str(error)) from error
    position = None
    if constraint.root_position is not None:
        position = torch.tensor(constraint.root_position, dtype=torch.float64)
        if not position.isfinite().all() or float(position.abs().max()) > 1e5:
            raise Misfit("invalid_request", f"root_position {shown(list(constraint.root_position))} of frame "
                         f"{constraint.frame} is no place")  # fmt: skip
    return Keyframe(constraint.frame, turns, position)


def _seeds(request: Any, samples: int) -> tuple[list[dict[str, Any]], tuple[int, ...]]:
    """Seeds that count up; and notes on what of the options has no meaning here."""
    options, notes = request.options, []
    seed = options.seed if options else None
    own = [getattr(one, "seed", None) for one in request.segments]
    if own and own[0] is not None:
        seed = own[0]
    if any(one is not None for one in own[1:]):
        notes.append(_note("seed", "the seed of the first segment is that of the motion; those of others are not used"))
    if seed is None:
        seed = secrets.randbelow(2**31 - MOST_SAMPLES)
        notes.append(_note("seed", f"the seed {seed} was drawn"))
    given = options.model_fields_set if options else set()
    unused = sorted(given & {"diffusion_steps", "guidance", "transition_frames"})
    if unused:
        notes.append(_note("options", f"not used, the model's own settings hold: {', '.join(unused)}"))
    return notes, tuple((seed + sample) % 2**31 for sample in range(samples))


def _note(code: str, message: str) -> dict[str, Any]:
    return {"code": code, "severity": "info", "message": message}
