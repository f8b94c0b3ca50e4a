"""A text encoder as a part of a network: in its folder, but never in its weights, copies or optimizers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import nn

from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError
from mld.models.contracts.network import Network
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.registry import FAMILIES
from mld.models.text_encoders.opening import open_text_encoder
from tests.models.evaluating import TEXTS
from tests.models.text_encoding import LAYOUTS, close


@dataclass
class SpokenConfig:
    width: int = 16


class Spoken(Network, family="spoken"):
    """A network over a text encoder, with a layer of its own."""

    kind, needs, Config = "generator", ("text",), SpokenConfig

    def __init__(self, config: SpokenConfig, text: TextEncoder) -> None:
        super().__init__()
        self.config, self.text, self.layer = config, text, nn.Linear(config.width, 2)

    @classmethod
    def restore(cls, config, parts, folder=None) -> Spoken:
        return cls(config, parts["text"])

    def save_assets(self, folder: Path) -> None:
        if self.text.family == "bert":
            self.text.save(folder / "text_encoder")


def test_it_is_no_part_of_weights_optimizers_and_copies(layout, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES["generator"], "spoken", f"{__name__}:Spoken")
    encoder = open_text_encoder(layout[1]).open()
    network = Spoken(SpokenConfig(), encoder)
    assert set(network.state_dict()) == {"layer.weight", "layer.bias"}
    assert len(list(network.parameters())) == len(network.parameter_groups()["all"]) == 2
    assert len(list(network.modules())) == 2 and not list(network.buffers())
    assert copy.deepcopy(network).text is encoder
    save_model(network, tmp_path / "m")
    assert set(load_file(tmp_path / "m" / "model.safetensors")) == {"layer.weight", "layer.bias"}


def test_a_model_folder_is_loaded_without_its_text_encoder(layout, tmp_path, monkeypatch) -> None:
    """The source may even be gone; only a text that is not cached asks for it."""
    name, _ = layout
    monkeypatch.setitem(FAMILIES["generator"], "spoken", f"{__name__}:Spoken")
    monkeypatch.setattr(Spoken, "save_assets", lambda *_: None)
    source = Path(LAYOUTS[name][1](tmp_path / "source"))
    encoder = open_text_encoder(str(source))
    want = encoder.encode(TEXTS)
    save_model(Spoken(SpokenConfig(), encoder), tmp_path / "m")
    source.rename(tmp_path / "gone")
    loaded = load_model(tmp_path / "m")
    assert loaded.text.family == encoder.family and loaded.text.describe() == encoder.describe()
    with pytest.raises(CheckpointError, match="no such folder; a model folder may hold it as") as caught:
        loaded.text.encode(TEXTS)
    assert "\n" not in str(caught.value)
    (tmp_path / "gone").rename(source)
    close(loaded.text.encode(TEXTS)[0].tokens, want[0].tokens)


def test_it_may_travel_in_the_model_folder(words, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES["generator"], "spoken", f"{__name__}:Spoken")
    encoder = open_text_encoder(words)
    save_model(Spoken(SpokenConfig(), encoder), tmp_path / "m")
    Path(words).rename(tmp_path / "gone")
    loaded = load_model(tmp_path / "m")
    close(loaded.text.encode(TEXTS)[0].tokens, encoder.encode(TEXTS)[0].tokens)
    assert loaded.text.describe() == encoder.describe(), "where it came from is not forgotten"


def test_a_model_folder_whose_text_part_is_not_described(words, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES["generator"], "spoken", f"{__name__}:Spoken")
    save_model(Spoken(SpokenConfig(), open_text_encoder(words)), tmp_path / "m")
    file = tmp_path / "m" / "config.yaml"
    file.write_text(file.read_text().replace("identity:", "hash:"))
    with pytest.raises(CheckpointError, match="config.yaml: parts.text: a text encoder lacks identity"):
        load_model(tmp_path / "m")
