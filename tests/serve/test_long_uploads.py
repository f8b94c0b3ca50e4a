"""Uploads longer than a model reads, on the page: captions with times, given frames that stay, notes that say so."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tasks
from mld.serve.conversation import Conversation
from mld.serve.models import Models
from mld.serve.studio import Studio
from mld.serve.uploads import open_upload


@pytest.fixture(scope="module")
def studio() -> Iterator[Studio]:
    """Of the bundled model that reads up to 256 frames."""
    made = Studio(Models(["motiongpt3"]), tasks.forms())
    yield made
    made.close()


def test_a_long_motion_is_told_part_by_part(studio: Studio, ask, files: Path) -> None:
    turn = ask(Conversation(), "m2t", "", files / "long.npy")
    assert turn.state == "done" and "longer than the model reads" in turn.facts, turn.text
    told = [re.fullmatch(r"\[(\d+\.\d)-(\d+\.\d) s\] .*", line) for line in turn.text.split("\n")]
    times = [(float(one[1]), float(one[2])) for one in told]
    assert len(times) > 1 and (times[0][0], times[-1][1]) == (0.0, 30.0)
    assert all(one[1] == other[0] for one, other in zip(times, times[1:]))
    item = studio.results.get(turn.key).items[0]
    assert item.caption == "long.npy"
    assert [(start / 20, stop / 20) for start, stop, _ in item.tokens] == times


def test_a_long_motion_goes_on_and_stays_as_it_is(studio: Studio, ask, files: Path) -> None:
    turn = ask(Conversation(), "pred", "", files / "long.npy", seconds=33.0)
    assert turn.state == "done" and "longer than the model reads" in turn.facts, turn.text
    item = studio.results.get(turn.key).items[0]
    assert item.motion.num_frames == 660
    assert torch.equal(item.motion.joints[:600], open_upload([str(files / "long.npy")], studio.work).motion.joints)
    assert item.tokens[0] == (0, 600, "given") and item.tokens[1][0] == 600 and item.tokens[-1][1] == 660
    between = ask(Conversation(), "inbetween", "", files / "long.npy", files / "long.npy", seconds=62.0)
    assert between.state == "done", between.text
    item = studio.results.get(between.key).items[0]
    assert item.motion.num_frames == 1240
    assert item.tokens[0] == (0, 600, "given") and item.tokens[-1] == (640, 1240, "given")
