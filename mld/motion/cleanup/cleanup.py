"""Clean-up of motions: smoothing, floor, feet that stay where they stand. Each step is optional, and what changed is
measured before and after: `clean(motion) -> (Motion, CleanUpReport)`.

Contacts for the measurements are those found before, so that both columns speak of the same frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mld.errors import RequestError
from mld.motion import kinematics
from mld.motion.cleanup.contacts import floor_height, foot_contacts, legs_of
from mld.motion.cleanup.foot_lock import lock_feet
from mld.motion.cleanup.smoothing import low_pass, low_pass_rotations
from mld.motion.edit import check_finite, transform
from mld.motion.motion import Motion
from mld.motion.rig.rest_pose import offsets_of

STEPS = ("smooth", "floor", "feet")  # in the order in which they are done
NOISE = 1e-3  # m/s and m: what counts as no change
CLEAN = 0.02  # m/s of sliding and m below the floor, of a motion that has no need of cleaning
ROUGH = 0.5  # a motion is rough where smoothing takes out half of its jerk
CUTOFF = 6.0  # Hz; the usual choice for walking, faster movements lose a little


@dataclass(frozen=True)
class Quality:
    """What can be seen to be wrong with a motion. sliding: mean speed in the plane of heels and toes in contact, m/s;
    sliding_cm: the same per frame; None without a contact. jerk: mean over time of the third derivative (L1
    over x, y, z) of the joint where it is largest, m/s^3. penetration: depth of the lowest joint below y = 0 in metres,
    at worst."""

    sliding: float | None
    sliding_cm: float | None
    jerk: float
    penetration: float


@dataclass(frozen=True)
class CleanUpReport:
    """steps: those that were done; contact_share: of frames with a foot on the floor; floor_moved: metres; moved: how
    far joints were, metres, mean over frames and joints."""

    steps: tuple[str, ...]
    before: Quality
    after: Quality
    contact_share: float
    floor_moved: float = 0.0
    moved: float = 0.0

    def as_dict(self) -> dict:
        return dataclasses.asdict(self)

    def lines(self) -> list[str]:
        """The report in words, one line per quantity."""
        before, after = self.before, self.after
        slide = "no foot touches the floor"
        if before.sliding is not None and after.sliding is not None:
            slide = (f"{before.sliding:.3f} -> {after.sliding:.3f} m/s ({before.sliding_cm:.2f} -> "
                     f"{after.sliding_cm:.2f} cm per frame; a foot stands in {self.contact_share:.0%} of frames)")
        lines = [
            f"sliding: {slide}",
            f"jerk: {before.jerk:.0f} -> {after.jerk:.0f} m/s^3",
            f"below the floor: {100 * before.penetration:.1f} -> {100 * after.penetration:.1f} cm",
        ]
        return lines + ([f"floor: moved by {self.floor_moved:+.3f} m"] if "floor" in self.steps else [])


def clean(
    motion: Motion, steps: Sequence[str] = STEPS, cutoff: float = CUTOFF, keep: Tensor | None = None
) -> tuple[Motion, CleanUpReport]:
    """The motion after the named steps, and the report.

    cutoff: of "smooth", Hz. keep (T,) bool: frames that stay exactly as they are, such as the given ones of a
    continuation; the floor is left alone then. With "feet" among the steps, a motion that is clean is neither smoothed
    nor held, and one on its floor comes back as it is; the report has the steps that were done. Bone lengths stay,
    rotations and translation follow. Raises `RequestError` for an unknown step and `DataError` for NaN.
    """
    unknown = [step for step in steps if step not in STEPS]
    if unknown or not cutoff > 0:
        wrong = f"a cutoff of {cutoff} Hz" if not unknown else f"the step '{unknown[0]}'"
        raise RequestError(f"clean-up does not know {wrong}; steps: {', '.join(STEPS)}; cutoffs are above 0")
    check_finite(motion)
    keep = None if keep is None or not keep.any() else keep
    done = tuple(step for step in STEPS if step in steps and not (step == "floor" and keep is not None))
    if "feet" in done:
        placed = _done(motion, tuple(step for step in done if step == "floor"), cutoff, keep)
        if _clean(*placed, cutoff if "smooth" in done else None, keep):
            return placed
    result = _done(motion, done, cutoff, keep)
    for dropped in (("smooth",), ("feet",), ("smooth", "feet"), STEPS) if "feet" in done else ():
        if not _worse(result[1]):
            break
        result = _done(motion, tuple(step for step in done if step not in dropped), cutoff, keep)
    return result


def _done(motion: Motion, steps: tuple[str, ...], cutoff: float, keep: Tensor | None) -> tuple[Motion, CleanUpReport]:
    """The motion after exactly these steps, and the report."""
    cleaned, moved = motion, 0.0
    if "smooth" in steps:
        cleaned = smooth(cleaned, cutoff, keep)
    if "floor" in steps:
        moved = -floor_height(cleaned)
        cleaned = transform(cleaned, y=moved) if abs(moved) > NOISE else cleaned
    if "feet" in steps:
        cleaned = lock_feet(cleaned, foot_contacts(cleaned), keep)
    if keep is not None:  # to the bit: bones that were taken apart and put together again are off by rounding
        exact = torch.where(keep[:, None, None], motion.joints, cleaned.joints.to(motion.joints))
        cleaned = dataclasses.replace(cleaned, joints=exact)
    return compare(motion, cleaned, steps, moved)


def _clean(motion: Motion, report: CleanUpReport, cutoff: float | None, keep: Tensor | None) -> bool:
    """Whether a motion on its floor, with its report, has no need of more: feet stand, and smoothing (at cutoff Hz,
    None: not asked for) would take out less than half of its jerk. More would cost what other measures see."""
    found = report.after
    if (found.sliding or 0.0) > CLEAN or found.penetration > CLEAN:
        return False
    return cutoff is None or measure(smooth(motion, cutoff, keep), foot_contacts(motion)).jerk >= ROUGH * found.jerk


def _worse(report: CleanUpReport) -> bool:
    """Whether feet that were clean slide more or sink deeper than before; in a rough motion that is smoothed, as over a
    cut, they may as long as they stay clean."""
    before, after = report.before, report.after
    if (before.sliding or 0.0) > CLEAN or before.penetration > CLEAN:
        return False
    least = CLEAN if after.jerk < ROUGH * before.jerk else 0.0
    slides = before.sliding is not None and (after.sliding or 0.0) > max(before.sliding + NOISE, least)
    return slides or after.penetration > max(before.penetration + NOISE, least)


def compare(before: Motion, after: Motion, steps: Sequence[str], floor_moved: float = 0.0
            ) -> tuple[Motion, CleanUpReport]:  # fmt: skip
    """The motion `after` the steps, and the report on it."""
    contacts = foot_contacts(before)
    share = float(contacts.any(1).double().mean())
    moved = float((after.joints.double() - before.joints.double()).norm(dim=-1).mean())
    found = measure(before, contacts), measure(after, contacts)
    return after, CleanUpReport(tuple(steps), *found, share, floor_moved, moved)


def smooth(motion: Motion, cutoff: float = CUTOFF, keep: Tensor | None = None) -> Motion:
    """The motion without what is faster than `cutoff` (Hz), not delayed, first and last frame and bone lengths kept.

    keep (T,) bool: other frames that stay. Bones are smoothed as directions, or as rotations where there are any.
    """
    if motion.num_frames < 4:
        return motion
    old, skeleton, share = motion.joints.double(), motion.skeleton, cutoff / motion.fps
    root = low_pass(old[:, 0], share, keep)
    translation = None if motion.translation is None else motion.translation + (root - old[:, 0])
    if motion.rotations is not None:
        turned = low_pass_rotations(motion.rotations, share, keep)
        joints, _ = kinematics.forward(root, turned.double(), offsets_of(motion), skeleton.parents)
        return dataclasses.replace(motion, joints=joints, rotations=turned, translation=translation)
    directions = low_pass(kinematics.bone_directions(old, skeleton), share, keep)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    lengths = low_pass(kinematics.bone_lengths(old, skeleton), share, keep)
    joints = kinematics.place(root, directions * lengths[..., None], skeleton)
    return dataclasses.replace(motion, joints=joints, translation=translation)


def measure(motion: Motion, contacts: Tensor) -> Quality:
    """The quality of a motion whose feet are in contact where `contacts` (T, 4) bool, of `foot_contacts`, says so."""
    joints = motion.joints.double()
    ends = [joint for leg in legs_of(motion.skeleton) for joint in (leg.ankle, leg.toe)]
    steps = joints[:, ends][..., [0, 2]].diff(dim=0).norm(dim=-1)
    held = contacts[1:] & contacts[:-1]
    slide = float(steps[held].mean()) if held.any() else None
    jerk = joints.diff(n=3, dim=0).abs().sum(-1).amax(-1) * motion.fps**3
    return Quality(
        sliding=None if slide is None else slide * motion.fps,
        sliding_cm=None if slide is None else 100 * slide,
        jerk=float(jerk.mean()) if len(jerk) else 0.0,
        penetration=max(0.0, -float(joints[..., 1].min())),
    )
