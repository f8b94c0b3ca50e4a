"""Parity of text encoders: UMT5 from its published names, sentence-T5 from its folder, the cleaning of texts."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5Config

from mld.models.text_encoders.t5 import SentenceT5Encoder
from mld.models.text_encoders.umt5 import UMT5Encoder, clean_text
from tests.models.text_encoding import write_text_tokenizer
from tests.parity.harness import Case, runner


def write_words(folder: Path, size: int) -> None:
    """A text tokenizer of dummy words, as fixtures hold ids alone."""
    assert write_text_tokenizer(folder, [f"w{i}" for i in range(3, size)]) == size


def published_umt5(case: Case, folder: Path) -> UMT5Encoder:
    """The fixture in the published form: a .pth beside the text tokenizer's folder."""
    torch.save(case.state_dict, folder / "models_t5_umt5-tiny-enc.pth")
    write_words(folder / "google" / "umt5-xxl", case.config["vocab_size"])
    return UMT5Encoder(folder)


@runner("vimogen.umt5")
def umt5(case: Case) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        encoder = published_umt5(case, Path(folder)).open()
    c, sizes = case.config, encoder.model.config
    assert (sizes.d_model, sizes.num_heads, sizes.num_layers) == (c["dim"], c["num_heads"], c["num_layers"])
    assert (sizes.d_ff, sizes.num_heads * sizes.d_kv) == (c["dim_ffn"], c["dim_attn"])
    assert sizes.relative_attention_max_distance == c["max_distance"] and not c["shared_pos"]
    return {"y": encoder.hidden(case.tensor("ids"), case.tensor("mask").bool())[0]}


@runner("vimogen.text_clean")
def text_clean(case: Case) -> dict:
    return {"clean": [(clean_text(row["raw"]), row["clean"]) for row in case.arrays["clean"]]}


def sentence_t5_folder(case: Case, folder: Path) -> Path:
    """The fixture in the layout of sentence-transformers; its key prefixes are the module numbers."""
    c = case.config
    write_words(folder, c["vocab_size"])
    config = T5Config(
        vocab_size=c["vocab_size"], d_model=c["d_model"], d_kv=c["d_kv"], num_heads=c["num_heads"], d_ff=c["d_ff"],
        num_layers=c["num_layers"], feed_forward_proj=c["feed_forward"], relative_attention_num_buckets=c["buckets"],
        relative_attention_max_distance=c["max_distance"], pad_token_id=c["pad_id"], eos_token_id=c["eos_id"],
    )  # fmt: skip
    config.save_pretrained(str(folder))
    weights = {number: {key.removeprefix(number): value for key, value in case.state_dict.items()
                        if key.startswith(number)} for number in ("0.", "2.")}  # fmt: skip
    save_file(weights["0."], folder / "model.safetensors", metadata={"format": "pt"})
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "2_Dense").mkdir()
    save_file(weights["2."], folder / "2_Dense" / "model.safetensors")
    sizes = {"in_features": c["d_model"], "out_features": c["dense_out"], "bias": c["dense_bias"]}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(sizes))
    return folder


@runner("motionstreamer.text.sentence_t5")
def sentence_t5(case: Case) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        encoder = SentenceT5Encoder(sentence_t5_folder(case, Path(folder))).open()
    assert SentenceT5Encoder.longest == case.config["published"]["max_seq_length"]
    states, mean, sentences = encoder.model(case.tensor("input_ids"), case.tensor("attention_mask").bool())
    return {"last_hidden": states, "pooled": mean, "embedding": sentences}
