"""A judge in a local folder: a vision-language model of random weights, opened and asked as a user's would be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mld.errors import CheckpointError
from mld.evaluation.judge import JudgeError, open_judge
from mld.evaluation.judge.frames import pictures
from mld.motion.motion import Motion
from tests.evaluation.tiny_vlm import write_tiny_vlm

SHOWN = pictures(Motion.load(Path(__file__).parents[2] / "demos/motions/jump.npy"))[::4]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_vlm(tmp_path_factory.mktemp("vlm") / "tiny")


def test_pictures_and_question_become_an_answer(folder: Path) -> None:
    judge = open_judge(str(folder))
    judge.most_tokens = 12
    assert judge.identity.startswith("tiny-")
    answers = [judge.ask("what is it?", SHOWN, 5.0), judge.ask("what is it?", SHOWN, 5.0)]
    assert answers[0] == answers[1] != ""
    assert judge.ask("what is it?", SHOWN[:1], 5.0) != answers[0]
    with pytest.raises(JudgeError, match="tokens of question and pictures"):
        judge.ask("long " * 1000, SHOWN, 5.0)


def test_a_folder_without_a_chat_template_is_asked_plainly(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "plain")
    (tmp_path / "plain/chat_template.jinja").unlink()
    judge = open_judge(str(tmp_path / "plain"))
    judge.most_tokens = 4
    assert judge.ask("what is it?", SHOWN, 5.0)


@pytest.mark.parametrize("damage", ["config.json", "processor_config.json", "model.safetensors", "text model"])
def test_a_damaged_folder_is_told_in_a_line(folder: Path, tmp_path: Path, damage: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    if damage == "text model":
        config = json.loads((copy / "config.json").read_text())["text_config"]
        (copy / "config.json").write_text(json.dumps(config))
    else:
        (copy / damage).unlink()
    with pytest.raises(CheckpointError, match="copy"):
        open_judge(str(copy))


def test_a_package_that_a_processor_needs_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    def needs(*_: Any, **__: Any) -> Any:
        raise ImportError("\nTinyVideoProcessor requires the Torchvision library but it was not found")

    monkeypatch.setattr(transformers.AutoProcessor, "from_pretrained", needs)
    with pytest.raises(CheckpointError, match="needs the package 'torchvision'"):
        open_judge(str(folder))
