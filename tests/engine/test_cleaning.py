"""Clean-up of answers: what it may move, and what is said about it."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mld.engine.cleaning import FURTHEST, cleaned, summary
from mld.engine.request import Answer, Request
from mld.example import Text
from mld.motion.cleanup.cleanup import clean
from mld.motion.motion import Motion
from tests.engine.scripted import Scripted
from tests.walking import walker

LAYOUT = Scripted().tokenizer.layout


def answer(motion: Motion) -> Answer:
    return Answer(Request((Text("a person walks"),), "motion"), motion)


def sliding(speed: float, frames: int = 120) -> Motion:
    """Somebody who stands, and slides by `speed` m/s."""
    joints = walker(1).expand(frames, 22, 3).clone()
    joints[..., 2] += (speed / 20 * torch.arange(frames))[:, None]
    return Motion(joints, 20.0)


def test_feet_are_held_and_it_is_said() -> None:
    motion, report, failed = cleaned(answer(sliding(0.05)), LAYOUT)
    assert report is not None and not failed and "feet" in report.steps
    assert report.after.sliding < 0.3 * report.before.sliding
    assert 0 < report.moved < FURTHEST
    assert report.moved == pytest.approx(float((motion.joints - sliding(0.05).joints).norm(dim=-1).mean()), rel=1e-3)
    said = summary([report])
    slide = f"feet slide {report.before.sliding:.3f} -> {report.after.sliding:.3f} m/s"
    assert said.startswith(f"cleaned up: {slide}, jerk ")
    assert said.endswith(f"; joints moved by {100 * report.moved:.1f} cm")
    assert summary([report, report]).startswith("2 motions cleaned up (means): feet slide ")


def test_who_would_end_elsewhere_slides_on() -> None:
    """Two metres of sliding taken out would be another motion."""
    motion = sliding(0.35)
    assert clean(motion)[1].moved > FURTHEST
    _, report, _ = cleaned(answer(motion), LAYOUT)
    assert report is not None and "feet" not in report.steps and report.moved < FURTHEST


def test_nothing_to_do_and_nothing_made() -> None:
    _, report, _ = cleaned(answer(sliding(0.0)), LAYOUT)
    assert report is not None
    still = dataclasses.replace(report, moved=0.0)
    assert summary([still]) == "cleaned up: nothing had to be changed" and summary([]) == ""


def test_a_motion_with_nan_stays() -> None:
    broken = sliding(0.0)
    broken.joints[3] = torch.nan
    motion, report, failed = cleaned(answer(broken), LAYOUT)
    assert motion is broken and report is None and failed.startswith("not cleaned up: ")
