"""T5 encoders. `t5` (Flan-T5): token features and their mean. `sentence_t5`: one unit vector for a sentence.

Only the encoder is read, so a folder may hold the whole of T5. Positions are relative: a text may be of any length, so
the family says where it is cut. Sentence-T5 (motionstreamer spec 3 and supplement): mean over real tokens, `</s>`
included, a dense layer without activation, length 1; published for the layout of sentence-transformers.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mld.errors import CheckpointError
from mld.files import parse_json, write_json
from mld.models.backbones.pretrained import read_weights
from mld.models.backbones.text_tokenizer import load_text_tokenizer, save_text_tokenizer
from mld.models.text_encoders.encoder import DTYPES, PretrainedTextEncoder
from mld.models.text_encoders.loading import load_transformer, masked_mean, quiet, unit
from mld.reading import read_text

EMBEDDINGS_AGAIN = "encoder.embed_tokens."  # the same as `shared.`
MODULES, LENGTHS = "modules.json", "sentence_bert_config.json"
IDENTITY = "torch.nn.modules.linear.Identity"


class T5Encoder(PretrainedTextEncoder, family="t5"):
    """Flan-T5 and T5: at most 512 tokens, `</s>` included."""

    optional = (EMBEDDINGS_AGAIN,)

    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        from transformers import T5EncoderModel

        tokenizer = load_text_tokenizer(folder)
        return load_transformer(T5EncoderModel, folder, DTYPES[self.dtype], self.optional), tokenizer

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states, masked_mean(states, mask)


class SentenceT5(nn.Module):
    """A T5 encoder with a dense layer behind the mean of its states."""

    def __init__(self, transformer: nn.Module, linear: nn.Linear) -> None:
        super().__init__()
        self.transformer, self.linear, self.config = transformer, linear, transformer.config

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ids (B, S), mask (B, S) -> states (B, S, Z), their means (B, Z) and unit vectors (B, Z')."""
        states = self.transformer(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        mean = masked_mean(states, mask)
        return states, mean, unit(self.linear(mean.to(self.linear.weight.dtype)).float())


class SentenceT5Encoder(PretrainedTextEncoder, family="sentence_t5"):
    """At most 256 tokens, or what the folder says."""

    longest = 256
    optional = (f"transformer.{EMBEDDINGS_AGAIN}",)

    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        from transformers import T5EncoderModel

        tokenizer, dtype = load_text_tokenizer(folder), DTYPES[self.dtype]
        self._lengths = _json(folder / LENGTHS) if (folder / LENGTHS).is_file() else {}
        _check_pooling(folder)
        dense = _read_dense(folder, dtype)
        transformer = load_transformer(T5EncoderModel, folder, dtype, (EMBEDDINGS_AGAIN,))
        if dense.in_features != transformer.config.d_model:
            raise CheckpointError(
                f"{folder}: the dense layer reads {dense.in_features} columns, T5 gives {transformer.config.d_model}"
            )
        return SentenceT5(transformer, dense), tokenizer

    @cached_property
    def max_tokens(self) -> int:
        self.open()
        return int(self._lengths.get("max_seq_length") or min(self.longest, self.tokenizer.model_max_length))

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states, _, sentences = self.model(ids, mask)
        return states, sentences

    def measure_sentence(self) -> int:
        return self.model.linear.out_features

    def save(self, folder: Path) -> None:
        from safetensors.torch import save_file

        linear = self.model.linear
        with quiet():
            self.model.transformer.save_pretrained(str(folder))
        save_text_tokenizer(self.tokenizer, folder)
        names = ("", "1_Pooling", "2_Dense", "3_Normalize")
        kinds = ("Transformer", "Pooling", "Dense", "Normalize")
        write_json(folder / MODULES, [
            {"idx": i, "name": str(i), "path": name, "type": f"sentence_transformers.models.{kind}"}
            for i, (name, kind) in enumerate(zip(names, kinds))
        ])  # fmt: skip
        write_json(folder / LENGTHS, {"max_seq_length": self.max_tokens})
        write_json(folder / "1_Pooling" / "config.json", {
            "word_embedding_dimension": linear.in_features, "pooling_mode_mean_tokens": True,
        })  # fmt: skip
        write_json(folder / "2_Dense" / "config.json", {
            "in_features": linear.in_features, "out_features": linear.out_features, "bias": linear.bias is not None,
            "activation_function": IDENTITY,
        })  # fmt: skip
        weights = {f"linear.{name}": value.contiguous() for name, value in linear.state_dict().items()}
        save_file(weights, folder / "2_Dense" / "model.safetensors")


def module_folder(folder: Path, kind: str) -> Path | None:
    """The "Dense" layer, "Pooling" ... of a sentence-transformers folder, None where it has none."""
    if not (folder / MODULES).is_file():
        return None
    found = [module["path"] for module in _json(folder / MODULES) if module["type"].endswith(kind)]
    return folder / found[0] if found else None


def _check_pooling(folder: Path) -> None:
    """`CheckpointError` for another pooling than the mean; it is written in two ways."""
    place = module_folder(folder, "Pooling")
    config = _json(place / "config.json") if place is not None and (place / "config.json").is_file() else {}
    flags = {key for key, value in config.items() if key.startswith("pooling_mode_") and value is True}
    mode = config.get("pooling_mode", "mean")
    if mode != "mean" or flags - {"pooling_mode_mean_tokens"}:
        raise CheckpointError(f"{place}: sentence-T5 pools by the mean over tokens, this folder does not")


def _read_dense(folder: Path, dtype: torch.dtype) -> nn.Linear:
    place = module_folder(folder, "Dense")
    if place is None or not (place / "config.json").is_file():
        raise CheckpointError(f"{folder}: not a sentence-T5, {MODULES} with a dense layer is missing")
    config, weights = _json(place / "config.json"), read_weights(place)
    if (activation := config.get("activation_function", IDENTITY)) != IDENTITY:
        raise CheckpointError(f"{place}: a dense layer with activation {activation} is not sentence-T5")
    weights = {name.removeprefix("linear."): value for name, value in weights.items()}
    shape = tuple(weights["weight"].shape) if "weight" in weights else None
    bias = config.get("bias", True)
    if shape != (config.get("out_features"), config.get("in_features")) or not isinstance(bias, bool):
        raise CheckpointError(f"{place}: its config does not fit its weights (in_features, out_features, bias)")
    linear = nn.Linear(config["in_features"], config["out_features"], bias=bias).to(dtype)
    try:
        linear.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"{place}: its config does not fit its weights") from error
    return linear


def _json(file: Path) -> Any:
    try:
        return parse_json(read_text(file))
    except ValueError as error:
        raise CheckpointError(f"{file}: not readable as JSON") from error
