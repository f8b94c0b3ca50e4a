"""The BABEL stream layout: motions, what follows on them, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mld.data.config import DataConfig, SourceEntry
from mld.data.doctor import examine
from mld.data.instructions import InstructionSet
from mld.data.sources.babel_stream import BabelStreamSource, parse_parts
from mld.data.sources.opening import build_source
from mld.errors import DataError
from mld.motion.representations.registry import get_representation
from prepare.data import main as prepare_data
from tests.data.conftest import figure


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four sequences for training and two for validation, of 120 frames."""
    root = tmp_path / "babel_272_stream"
    rows = get_representation("motion272").encode_joints(torch.from_numpy(figure(120))[None])[0].numpy()
    texts = {
        "train": {
            "seq_1": "look around#a/b#0.0#0.0*itch#a/b#0.0#0.0#61\n", "seq2": "walk*sit down#40\n",
            "seq_10": "walk#x#0.0#0.0*turn#x#0.0#0.0#40*jump#x#0.0#0.0#80\n",
            "seq_11": "walk*sit#20\nwalk*#30\nwalk*sit slowly#44\n",
        },
        "val": {"seq_1": "walk*transition#40\n", "seq_2": "walk*sit#60\n"},
    }  # fmt: skip
    for split, files in texts.items():
        for kind in ("stream", "stream_text"):
            (root / f"{split}_{kind}").mkdir(parents=True)
        for name, text in files.items():
            (root / f"{split}_stream_text" / f"{name}.txt").write_text(text)
            np.save(root / f"{split}_stream" / f"{name.replace('seq2', 'seq_2')}.npy", rows)
    return root


def config(folder: Path, **settings) -> DataConfig:
    return DataConfig("babel_stream", str(folder), "motion272", max_frames=300, instructions="stream", **settings)


def test_pairs_come_by_number_whatever_their_spelling(folder: Path) -> None:
    source = build_source(config(folder), "train")
    assert isinstance(source, BabelStreamSource)
    clips = [source[index] for index in range(len(source))]
    assert [clip.name for clip in clips] == ["seq_1", "seq_2", "seq_10", "seq_10_2", "seq_11"]
    assert [(clip.history, clip.num_frames) for clip in clips] == [(61, 120), (40, 120), (40, 80), (80, 120), (44, 120)]
    assert [clip.captions for clip in clips[:4]] == [("itch",), ("sit down",), ("turn",), ("jump",)]
    assert clips[4].captions == ("sit", "sit slowly")  # the last line says where it begins, the empty one is told
    assert [problem.line for problem in source.problems] == [2]
    assert len(list(source.recordings())) == 4


def test_an_example_has_the_given_motion_and_the_second_text(folder: Path) -> None:
    clip = build_source(config(folder), "train")[0]
    example = InstructionSet.load("stream").draw("Text-to-Motion/stream", clip, np.random.default_rng(0),
                                                 config(folder, quote_probability=0.0))  # fmt: skip
    assert example.prompt[0].text == "itch"
    assert len(example.prompt[1].features) == 60 and len(example.target[0].features) == 60


def test_transitions_are_trained_on_and_not_scored(folder: Path) -> None:
    val = build_source(config(folder), "val")
    assert [val[index].name for index in range(len(val))] == ["seq_2"]
    assert 'only called "transition"' in val.report()
    assert build_source(config(folder), "test").lengths.tolist() == [120]
    (folder / "train_stream_text" / "seq_1.txt").write_text("look around*transition#60\n")
    assert build_source(config(folder), "train").captions(0)[0].text == "transition"


def test_what_is_missing_or_broken_is_counted_and_the_rest_used(folder: Path) -> None:
    (folder / "train_stream" / "seq_1.npy").unlink()
    (folder / "train_stream_text" / "seq2.txt").unlink()
    (folder / "train_stream" / "seq_11.npy").write_bytes(b"not an array")
    (folder / "train_stream_text" / "seq_20.txt").write_text("walk*sit#10\n")
    source = build_source(config(folder), "train")
    assert [source[i].name for i in range(len(source))] == ["seq_10", "seq_10_2"]
    told = [str(problem) for problem in source.problems]
    assert told[0] == "train_stream/seq_1.npy: missing" and told[1] == "train_stream_text/seq_2.txt: missing"
    assert "seq_11.npy: not a readable npy file" in told[2] and told[3].startswith("train_stream/seq_20.npy")


def test_a_boundary_at_the_end_leaves_nothing(folder: Path) -> None:
    (folder / "train_stream_text" / "seq_1.txt").write_text("a*b#120")
    source = build_source(config(folder), "train")
    assert source[0].name == "seq_2" and "1 with nothing behind what is given" in source.report()


def test_long_sequences_are_left_out(folder: Path) -> None:
    source = build_source(DataConfig("babel_stream", str(folder), "motion272", max_frames=100), "train")
    assert source.lengths.tolist() == [80] and "longer than 100 frames" in source.report()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("walk", "no second part"), ("walk*sit", "is no frame"), ("walk*sit#soon", "is no frame"), ("a*b#-4", "is no"),
        ("a*b#1e12", "is no frame"), ("a*b#nan", "is no frame"), ("a*#40", "no caption"),
        ("a*b#40*c#30", "do not rise"),
    ],
)  # fmt: skip
def test_lines_that_cannot_be_used(line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_parts(line)


def test_a_folder_of_something_else_is_told(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    with pytest.raises(DataError, match="no folder train_stream .*holds texts"):
        build_source(config(tmp_path), "train")


def test_beside_clips_without_a_given_motion(folder: Path) -> None:
    entries = [SourceEntry("procedural", procedural_size=8), SourceEntry("babel_stream", str(folder), name="babel")]
    mixture = build_source(DataConfig(representation="motion272", max_frames=300, sources=entries), "train")
    assert len(mixture) == 13 and mixture[8].name == "babel/seq_1" and mixture[8].history == 61


def test_the_doctor_knows_the_layout(folder: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["doctor", "--source", "babel_stream", "--root", str(folder), "--representation", "motion272"]
    assert prepare_data(arguments) == 0
    out = capsys.readouterr().out
    assert "5 clips" in out and "no caption of the second part" in out and "warnings: 1" in out
    (folder / "val_stream").rename(folder / "elsewhere")
    diagnosis = examine(config(folder))
    assert not diagnosis.healthy and "no folder val_stream" in diagnosis.findings[0].message
