"""Tiny random text encoders of every family, written to disk in the layouts in which they are published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.models.evaluating import TEXTS, write_text_encoder

WORDS = sorted({word for text in TEXTS for word in text.replace(".", " .").split()})


def write_text_tokenizer(folder: Path, words: Sequence[str] = WORDS, start: str = "", end: str = "</s>") -> int:
    """A text tokenizer of whole words with `end` (and `start`) around every text; gives the size of its vocabulary."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", end, "<unk>", *([start] if start else [])]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    around = [(name, vocabulary[name]) for name in (start, end) if name]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{start} $A {end}".strip(), special_tokens=around)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token=end, unk_token="<unk>", model_max_length=512
    )
    made.save_pretrained(str(folder))
    return len(vocabulary)


def t5_sizes(vocabulary: int) -> dict:
    return {"vocab_size": vocabulary, "d_model": 16, "d_kv": 4, "num_heads": 4, "d_ff": 24, "num_layers": 2,
            "relative_attention_num_buckets": 8}  # fmt: skip


def write_t5(folder: Path, seed: int = 0) -> str:
    """The whole of a T5 with gated layers and an output matrix of its own, as Flan-T5 is published."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        **t5_sizes(write_text_tokenizer(folder)), feed_forward_proj="gated-gelu", tie_word_embeddings=False
    )
    torch.manual_seed(seed)
    T5ForConditionalGeneration(config).save_pretrained(str(folder))
    return str(folder)


def write_sentence_t5(folder: Path, seed: int = 0, **dense) -> str:
    """The layout of sentence-transformers; dense: changes to the config of the dense layer."""
    from transformers import T5Config, T5EncoderModel

    config = T5Config(**t5_sizes(write_text_tokenizer(folder)), feed_forward_proj="relu")
    torch.manual_seed(seed)
    T5EncoderModel(config).save_pretrained(str(folder))
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense", "3_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 12, "do_lower_case": False}))
    (folder / "2_Dense").mkdir()
    save_file({"linear.weight": torch.randn(10, 16)}, folder / "2_Dense" / "model.safetensors")
    sizes = {"in_features": 16, "out_features": 10, "bias": False, **dense}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(sizes))
    return str(folder)


def write_umt5(folder: Path, seed: int = 0) -> str:
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(seed)
    UMT5EncoderModel(UMT5Config(**t5_sizes(write_text_tokenizer(folder)))).save_pretrained(str(folder))
    return str(folder)


def write_umt5_published(folder: Path, seed: int = 0) -> str:
    """The weights of `write_umt5` under their published names in a .pth, the text tokenizer below."""
    write_umt5(folder, seed)
    inner = folder / "google" / "umt5-xxl"
    inner.mkdir(parents=True)
    weights = load_file(folder / "model.safetensors")
    torch.save({published_name(key): value for key, value in weights.items()}, folder / "models_t5_umt5-tiny.pth")
    for file in folder.glob("*.json"):
        if file.name.startswith(("tokenizer", "special")):
            file.rename(inner / file.name)
        else:
            file.unlink()
    (folder / "model.safetensors").unlink()
    return str(folder)


def published_name(key: str) -> str:
    """The library's name of a UMT5 weight -> the published one (vimogen spec 2)."""
    if not key.startswith("encoder.block."):
        return {"shared.weight": "token_embedding.weight", "encoder.final_layer_norm.weight": "norm.weight"}[key]
    _, _, number, _, _, rest = key.split(".", 5)
    first = key.split(".")[4] == "0"
    names = {
        "layer_norm.weight": "norm1.weight" if first else "norm2.weight",
        "SelfAttention.relative_attention_bias.weight": "pos_embedding.embedding.weight",
        "DenseReluDense.wi_0.weight": "ffn.gate.0.weight", "DenseReluDense.wi_1.weight": "ffn.fc1.weight",
        "DenseReluDense.wo.weight": "ffn.fc2.weight",
    }  # fmt: skip
    return f"blocks.{number}.{names.get(rest, rest.replace('SelfAttention', 'attn'))}"


def write_clip(folder: Path, seed: int = 0) -> str:
    """The whole of a CLIP, image side included."""
    from transformers import CLIPConfig, CLIPModel

    size = write_text_tokenizer(folder, start="<|startoftext|>", end="<|endoftext|>")
    text = {"vocab_size": size, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "max_position_embeddings": 20, "bos_token_id": 3, "eos_token_id": 1,
            "pad_token_id": 0}  # fmt: skip
    image = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2,
             "image_size": 8, "patch_size": 4}  # fmt: skip
    torch.manual_seed(seed)
    CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=10)).save_pretrained(str(folder))
    return str(folder)


# layout -> (family, writer, most tokens, widths)
LAYOUTS = {
    "bert": ("bert", write_text_encoder, 32, (16, 16)),
    "t5": ("t5", write_t5, 512, (16, 16)),
    "sentence_t5": ("sentence_t5", write_sentence_t5, 12, (16, 10)),
    "umt5": ("umt5", write_umt5, 512, (16, 16)),
    "umt5_published": ("umt5", write_umt5_published, 512, (16, 16)),
    "clip": ("clip", write_clip, 20, (16, 10)),
}


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, atol=5e-6, rtol=1e-5)
