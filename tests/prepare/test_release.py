"""A released model folder: half the size, same answers, terms and credit written down."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import HfApi

import mld
from commands.common import run
from mld.checkpoint import load_model, save_model, weights_hash
from mld.engine.pipeline import Pipeline
from mld.errors import CheckpointError, DataError
from mld.evaluation.quality import read_quality
from mld.hub import push_folder, write_release
from mld.models.registry import FAMILIES
from mld.models.text_encoders.opening import open_text_encoder
from prepare.pack import pack
from prepare.release import main, release
from tests.models.packing import write_bert
from tests.models.test_text_encoder_parts import Spoken, SpokenConfig
from tests.models.tiny import tiny_motiongpt
from tests.models.tiny_vimogen import tiny_vimogen


def test_release_keeps_the_model_and_states_its_terms(tmp_path) -> None:
    save_model(tiny_motiongpt(), tmp_path / "model", {"run": "tiny", "data": "3 clips"})
    terms = ["--licence", "CC0", "--credit", "Thanks to them.", "--about", "It walks."]
    assert run(main, [str(tmp_path / "model"), str(tmp_path / "out"), *terms]) == 0
    origin = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert origin["licence"] == "CC0" and origin["run"] == "tiny" and origin["weights_dtype"] == "float16"
    readme = (tmp_path / "out" / "README.md").read_text()
    assert all(words in readme for words in ("CC0", "Thanks to them.", "It walks.", "3 clips"))
    assert "| makes | motion for words, motion for words and a motion, motion for words and two motions" in readme
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("model", "out")]
    assert sizes[1] < 0.6 * sizes[0]
    released = Pipeline(load_model(tmp_path / "out"))
    assert torch.isfinite(released.generate("a person walks", seconds=1).joints).all()


@pytest.mark.parametrize("references", [True, False])
def test_a_card_names_reference_motions_where_they_may_lead(tmp_path: Path, references: bool) -> None:
    model = tiny_vimogen(references=references)
    folder = write_release(model, tmp_path / "out", "float32", {"licence": "MIT"})
    assert ("motion for a reference motion" in (folder / "README.md").read_text()) is references


def test_a_card_is_whole_and_names_no_place_of_this_machine(tmp_path) -> None:
    """Data in several lines is one cell; folders of earlier models lose what leads to them."""
    parents = [{"folder": "/home/ann/runs/cmu/vae/model"}, {"folder": "runs/a"}]
    origin = {"data": "two sets\n  a | b: 3 clips", "parents": parents}
    save_model(tiny_motiongpt(), tmp_path / "model", origin)
    assert run(main, [str(tmp_path / "model"), str(tmp_path / "out"), "--licence", "MIT"]) == 0
    assert "| data | two sets; a \\| b: 3 clips |" in (tmp_path / "out" / "README.md").read_text()
    kept = json.loads((tmp_path / "out" / "provenance.json").read_text())["parents"]
    assert [parent["folder"] for parent in kept] == ["runs/cmu/vae/model", "runs/a"]


def test_release_of_nothing_is_one_line(tmp_path, capsys) -> None:
    assert run(main, [str(tmp_path / "none"), str(tmp_path / "out"), "--licence", "MIT"]) == 2
    assert "no such model folder" in capsys.readouterr().err


@pytest.mark.parametrize(("licence", "wanted"), [
    ("MIT", {"license": "mit"}), ("For research: ask us", {"license": "other", "license_name": "For research: ask us"}),
])  # fmt: skip
def test_the_model_card_has_a_front_matter(tmp_path: Path, licence: str, wanted: dict) -> None:
    folder = release(str(save_model(tiny_motiongpt(), tmp_path / "model")), str(tmp_path / "out"), "float32", licence)
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    card = yaml.safe_load(front)
    assert wanted.items() <= card.items() and card["library_name"] == "mld" and "text-to-motion" in card["tags"]
    assert text.startswith("\n# ")


def test_a_folder_is_pushed(tmp_path: Path, monkeypatch) -> None:
    """The hub is asked for the repository and gets the whole folder; what it refuses is one line."""
    folder, asked = save_model(tiny_motiongpt(), tmp_path / "model"), []
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **options: asked.append((name, options)))
    monkeypatch.setattr(HfApi, "upload_folder", lambda self, **options: asked.append(options) or "https://hub/me/mine")
    assert push_folder(folder, "me/mine", private=True) == "https://hub/me/mine"
    assert asked[0] == ("me/mine", {"private": True, "exist_ok": True})
    assert asked[1]["repo_id"] == "me/mine" and asked[1]["folder_path"] == str(folder)

    def refuse(self, name, **options):
        raise OSError("no way there")

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    with pytest.raises(CheckpointError, match="no way there"):
        push_folder(folder, "me/mine")
    with pytest.raises(CheckpointError, match="no model folder"):
        push_folder(tmp_path, "me/mine")


def test_the_usual_name_opens_a_model(tmp_path: Path) -> None:
    assert mld.from_pretrained is mld.load
    folder = save_model(tiny_motiongpt(), tmp_path / "model")
    assert Pipeline.from_pretrained(folder).model.family == "motiongpt"


def test_a_pipeline_goes_onto_the_hub_and_comes_back(tmp_path: Path, monkeypatch) -> None:
    """A hub that keeps what it is given: the folder has a card and its origin, and answers alike."""
    kept = tmp_path / "hub"
    monkeypatch.setattr(HfApi, "create_repo", lambda self, name, **options: None)

    def keep(self, *, repo_id, folder_path, **options):
        shutil.copytree(folder_path, kept / repo_id)
        return f"https://hub/{repo_id}"

    monkeypatch.setattr(HfApi, "upload_folder", keep)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **options: str(kept / name))
    pipeline = Pipeline.load(save_model(tiny_motiongpt(), tmp_path / "model", {"run": "tiny", "data": "3 clips"}))
    pushed = pipeline.push_to_hub("me/mine", licence="MIT", about="It walks.", credit="Thanks.", dtype="float32")
    assert pushed == "https://hub/me/mine"
    card = (kept / "me/mine/README.md").read_text()
    assert card.startswith("---\nlicense: mit\n")
    assert all(words in card for words in ("It walks.", "Thanks.", "3 clips", "motiongpt"))
    origin = json.loads((kept / "me/mine/provenance.json").read_text())
    assert origin["run"] == "tiny" and origin["licence"] == "MIT"
    again = Pipeline.from_pretrained("me/mine")
    same = [one.generate("a person walks", seconds=1).joints for one in (pipeline, again)]
    assert torch.equal(*same)
    for wrong in ("mine", "a/b/c", "/mine", "me/"):
        with pytest.raises(CheckpointError, match="OWNER/NAME"):
            pipeline.push_to_hub(wrong, licence="MIT")


def test_what_was_measured_and_chosen_travels_with_the_model(tmp_path, capsys) -> None:
    """Results of this model become quality.json; those of another one are refused. Credits of data sets are added."""
    origin = {"data": "mixture of cmu-mocap-text, snu-mocap-text: 9 clips"}
    folder = save_model(tiny_motiongpt(), tmp_path / "model", origin)
    entry = {"value": 81.5, "unit": "%", "protocol": "probes/strict", "ci95": None, "interval_over_items": [79.0, 84.0]}
    results = {
        "tasks": {"probes": {"all": entry, "sides": entry}, "t2m": {"guo/FID": entry, "guo/KID": entry}},
        "rows": {"real": {"guo/FID": {**entry, "value": 0.1}}}, "evaluators": {},
        "data": {"name": "probes", "clips": 38, "hash": "a", "captions_hash": "b"},
        "seeds": {"seed": 0, "replications": 4}, "model": {"name": "m", "weights_hash": weights_hash(folder)[:16]},
    }  # fmt: skip
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    asked = [str(folder), str(tmp_path / "out"), "--licence", "MIT", "--results", str(file)]
    assert run(main, [*asked, "--choice", "guidance 2.0 by probes of validation"]) == 0
    measured = read_quality(tmp_path / "out")
    assert [(one["task"], one["metric"], one["real"]) for one in measured] == [
        ("probes", "all", None), ("probes", "sides", None), ("t2m", "guo/FID", 0.1),
    ]  # fmt: skip
    kept = json.loads((tmp_path / "out" / "provenance.json").read_text())
    assert kept["choices"] == ["guidance 2.0 by probes of validation"]
    assert "mocap.cs.cmu.edu" in kept["credit"] and "Seoul National University" in kept["credit"]
    assert not any(one["limited"] for one in measured)
    assert run(main, [*asked, str(file)]) == 2  # the same numbers once more, or others of the same name
    assert "probes all is in another file, too" in capsys.readouterr().err
    file.write_text(json.dumps({**results, "data": {**results["data"], "limited": True}}))
    assert run(main, asked) == 0 and all(one["limited"] for one in read_quality(tmp_path / "out"))
    file.write_text(json.dumps({**results, "model": {"name": "other", "weights_hash": "0" * 16}}))
    assert run(main, asked) == 2
    assert "measures 'other', whose weights are others" in capsys.readouterr().err


def test_a_model_may_name_another_text_encoder_of_its_width(tmp_path: Path, monkeypatch, capsys) -> None:
    """The one in few bits in place of the one it learnt with; provenance says both."""
    monkeypatch.setitem(FAMILIES["generator"], "spoken", f"{Spoken.__module__}:Spoken")
    monkeypatch.setattr(Spoken, "save_assets", lambda *_: None)
    monkeypatch.setattr("prepare.pack._own_texts", lambda: ["a person walks"])
    whole, narrow = write_bert(tmp_path / "whole"), write_bert(tmp_path / "narrow", width=32)
    small = pack(str(whole), str(tmp_path / "small"))
    encoders = [open_text_encoder(str(folder)) for folder in (whole, small)]
    folder = save_model(Spoken(SpokenConfig(), encoders[0]), tmp_path / "model")
    asked = [str(folder), str(tmp_path / "out"), "--licence", "MIT", "--text-encoder"]
    assert run(main, [*asked, str(small)]) == 0
    released = load_model(tmp_path / "out").text
    assert (released.source, released.identity) == (str(small), encoders[1].identity)
    assert torch.equal(released.encode(["a person walks"])[0].tokens, encoders[1].encode(["a person walks"])[0].tokens)
    told = json.loads((tmp_path / "out" / "provenance.json").read_text())["text_encoder"]
    assert told["identity"] == encoders[1].identity and told["trained_with"]["identity"] == encoders[0].identity
    assert run(main, [*asked, str(narrow)]) == 2
    assert "its width is 32, the model reads features of" in capsys.readouterr().err
    plain = save_model(tiny_motiongpt(), tmp_path / "plain")
    assert run(main, [str(plain), str(tmp_path / "no"), *asked[2:], str(small)]) == 2
    assert "has no text encoder as a part to replace" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"value": None}, {"value": "much"}, {"task": 7}, {"unit": None}, {"real": "some"}])
def test_numbers_that_no_release_wrote_are_told(tmp_path: Path, wrong: dict) -> None:
    entry = {"task": "probes", "metric": "all", "value": 81.5, "unit": "%", "real": None}
    (tmp_path / "quality.json").write_text(json.dumps({"measured": [entry]}))
    assert read_quality(tmp_path) == [entry]
    (tmp_path / "quality.json").write_text(json.dumps({"measured": [{**entry, **wrong}]}))
    with pytest.raises(DataError, match="not what a release writes"):
        read_quality(tmp_path)
