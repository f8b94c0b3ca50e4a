"""Where a text encoder is while a model answers: beside it, on the CPU, or let go; in Pipeline, demo and server."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest
import torch

from commands import models as options_of_models
from commands.demo import main
from mld.checkpoint import save_model
from mld.engine.pipeline import Pipeline
from mld.engine.request import Request
from mld.engine.texts import PLACES
from mld.errors import CheckpointError, RequestError
from mld.example import Text
from mld.models import loading, quantization
from mld.models.quantization import WEIGHTS
from mld.models.text_encoders.opening import open_text_encoder
from mld.models.text_encoders.t5 import T5Encoder
from mld.serve.models import Models
from tests.models.text_encoding import write_t5
from tests.models.tiny_million import tiny_million

WALK, SIT = "a person walks", "someone sits down"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model that reads the features of a T5."""
    place = tmp_path_factory.mktemp("read")
    text = open_text_encoder(write_t5(place / "t5"))
    return save_model(tiny_million(text=text), place / "model")


@pytest.fixture
def happened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read from the disk, in order."""
    found: list[str] = []
    read, tensors = T5Encoder.read, loading._tensors
    monkeypatch.setattr(T5Encoder, "read", lambda self, folder: found.append("text encoder") or read(self, folder))
    monkeypatch.setattr(loading, "_tensors", lambda file: found.append("weights") or tensors(file))
    return found


def request(text: str = WALK) -> Request:
    return Request((Text(text),), "motion", 24, seed=1)


def test_what_is_released_is_freed_and_read_again_for_new_texts(folder: Path) -> None:
    encoder = open_text_encoder(str(folder.parent / "t5"))
    walk, sit = encoder.encode([WALK, SIT])
    alive, identity, width = weakref.ref(encoder.model), encoder.identity, encoder.width
    encoder.release()
    assert alive() is None and encoder._read is None
    encoder.release()  # nothing to let go
    assert (encoder.identity, encoder.width) == (identity, width)
    assert torch.equal(encoder.encode([WALK])[0].tokens, walk.tokens) and encoder._read is None
    fresh = open_text_encoder(str(folder.parent / "t5"), identity=identity)
    fresh.release()
    assert torch.equal(fresh.encode([SIT])[0].tokens, sit.tokens) and fresh._read is not None


def test_it_stays_on_the_cpu(folder: Path) -> None:
    encoder = open_text_encoder(str(folder.parent / "t5"))
    encoder.stay_on("cpu")
    (found,) = encoder.encode([WALK], "meta")  # there it would have no numbers
    assert found.tokens.isfinite().all() and next(encoder.model.parameters()).device.type == "cpu"
    pipeline = Pipeline.load(folder, text_encoder="cpu")
    assert pipeline.model.text._place == "cpu"
    pipeline.streamer()
    assert pipeline.model.text._place == "cpu"


@pytest.mark.parametrize("place", PLACES)
def test_answers_are_the_same_wherever_it_is(place: str, folder: Path, happened: list[str]) -> None:
    pipeline = Pipeline.load(folder, text_encoder=place)
    answers = pipeline.run([request(), request(SIT), request()])
    usual = Pipeline.load(folder).run([request(), request(SIT), request()])
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(answers, usual))
    assert (pipeline.model.text._read is None) == (place == "unload")
    pipeline.run([request()])
    assert happened.count("text encoder") == 2, "features of texts that were read are kept"


def test_known_prompts_are_read_before_the_weights(folder: Path, happened: list[str]) -> None:
    """So the two are never in memory together."""
    pipeline = Pipeline.load(folder, weights="int8", text_encoder="unload", prompts=[request().prompt])
    gc.collect()
    assert pipeline.model.text._read is None
    pipeline.run([request()])
    assert happened == ["text encoder", "weights"]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_demo_with_every_kind_of_weights(
    weights: str, folder: Path, tmp_path: Path, happened: list[str], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """Texts are read first, all in one go, and the encoder is gone by then."""
    monkeypatch.setattr(quantization, "LEAST", 16)
    arguments = ["--model", str(folder), "--weights", weights, "--out", str(tmp_path), "--batch-size", "1",
                 "--format", "npy", "--text", f"{WALK}#24", "--text", f"{SIT}#16", "--text", "#"]  # fmt: skip
    assert main(arguments) == 1, "the empty line is told, the others are made"
    index = json.loads((tmp_path / "index.json").read_text())
    assert index["weights"] == weights and [row.get("frames") for row in index["results"]] == [24, 16, None]
    assert happened == ["text encoder", "weights"]
    assert (f"{weights} weights: " in capsys.readouterr().err) == (weights != "float32")


def test_demo_where_it_is_kept(folder: Path, tmp_path: Path, happened: list[str]) -> None:
    arguments = ["--model", str(folder), "--text-encoder", "keep", "--out", str(tmp_path), "--format", "npy",
                 "--text", f"{WALK}#24"]  # fmt: skip
    assert main(arguments) == 0
    assert happened == ["weights", "text encoder"]


def test_a_server_opens_models_so(folder: Path) -> None:
    offered = Models([str(folder)], weights="bfloat16", text_encoder="unload")
    pipeline = offered.pipeline(offered.names[0])
    assert pipeline.rounding.weights == "bfloat16" and pipeline.texts.place == "unload"


def test_choices() -> None:
    assert options_of_models.TEXT_ENCODER == PLACES and options_of_models.WEIGHTS == WEIGHTS
    with pytest.raises(RequestError, match="text encoder 'gpu' is not one of keep, cpu, unload"):
        Pipeline(tiny_million(), text_encoder="gpu")


def test_a_folder_of_another_kind_is_told_as_before(folder: Path, tmp_path: Path) -> None:
    place = save_model(tiny_million().tokenizer, tmp_path / "tokenizer")
    with pytest.raises(CheckpointError, match="holds a tokenizer; a model with a language part is needed"):
        main(["--model", str(place), "--out", str(tmp_path / "out"), "--text", WALK])
