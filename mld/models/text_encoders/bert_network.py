"""BERT (Devlin et al. 2018) to read sentences with: its hidden states, nothing else.

transformers has it, too, and everything that can be done with it, which takes longer to import than a motion takes to
be made. So a folder with a plain BERT is read by this file, and the library reads all others. Names of weights are
those of the library: both are recognised by the same hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mld.errors import CheckpointError
from mld.files import parse_json, write_json, write_tensors
from mld.models.loading import without_weights
from mld.models.packed_weights import METHOD, unpack_weights
from mld.reading import gone_wrong, read_text
from mld.weight_files import check_finite, check_folder

CONFIG, WEIGHTS, PACKING = "config.json", "model.safetensors", "quantization_config"
UNUSED = ("pooler.", "embeddings.position_ids")  # what a file may hold beyond the states
# Settings that make another network of it, with the value that does not.
PLAIN: dict[str, Any] = {
    "model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False,
    "add_cross_attention": False, PACKING: None, "auto_map": None,
}  # fmt: skip
USUAL = {"hidden_act": "gelu", "layer_norm_eps": 1e-12, "type_vocab_size": 2}
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
         "max_position_embeddings", "type_vocab_size")  # fmt: skip
MOST = 100_000  # a size beyond is left to the library to complain about


class BertNetwork(nn.Module):
    """config: the settings of config.json, with `SIZES` and `layer_norm_eps`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.settings, self.config = dict(config), SimpleNamespace(**config)
        width, norm = config["hidden_size"], config["layer_norm_eps"]
        self.embeddings = nn.ModuleDict({
            "word_embeddings": nn.Embedding(config["vocab_size"], width),
            "position_embeddings": nn.Embedding(config["max_position_embeddings"], width),
            "token_type_embeddings": nn.Embedding(config["type_vocab_size"], width),
            "LayerNorm": nn.LayerNorm(width, norm),
        })
        heads, inner = config["num_attention_heads"], config["intermediate_size"]
        layers = (Layer(width, heads, inner, norm) for _ in range(config["num_hidden_layers"]))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        """Ids (B, S), mask (B, S) of ones and zeros -> last_hidden_state (B, S, Z), as the library calls them."""
        own = self.embeddings
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        states = own["word_embeddings"](input_ids) + own["token_type_embeddings"].weight[0]
        states = own["LayerNorm"](states + own["position_embeddings"](positions))
        mask = attention_mask.bool()
        seen = None if bool(mask.all()) else mask[:, None, None, :]
        for layer in self.encoder["layer"]:
            states = layer(states, seen)
        return SimpleNamespace(last_hidden_state=states)

    def get_input_embeddings(self) -> nn.Module:
        """Ids (B, S) -> embeddings of pieces (B, S, Z), as the library calls them."""
        return self.embeddings["word_embeddings"]

    def save_pretrained(self, folder: str) -> None:
        """Write it as the library would read it."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_json(place / CONFIG, self.settings)
        state = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        write_tensors(place / WEIGHTS, state, {"format": "pt"})


class Layer(nn.Module):
    """Attention, then two linear layers; each is added to what it reads, and the sum is normalised."""

    def __init__(self, width: int, heads: int, inner: int, norm: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention = nn.ModuleDict({
            "self": nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")}),
            "output": _closing(width, width, norm),
        })
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _closing(inner, width, norm)

    def forward(self, states: Tensor, seen: Tensor | None) -> Tensor:
        """States (B, S, Z); seen (B, 1, 1, S) bool, None for all."""
        own = self.attention["self"]
        query, key, value = (
            own[name](states).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in ("query", "key", "value")
        )
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=seen).transpose(1, 2).flatten(2)
        states = _closed(self.attention["output"], read, states)
        return _closed(self.output, F.gelu(self.intermediate["dense"](states)), states)


def _closing(inputs: int, width: int, norm: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inputs, width), "LayerNorm": nn.LayerNorm(width, norm)})


def _closed(block: nn.ModuleDict, read: Tensor, states: Tensor) -> Tensor:
    return block["LayerNorm"](block["dense"](read) + states)


def read_bert(folder: Path, dtype: torch.dtype) -> BertNetwork | None:
    """The network of a folder; None where it is no plain BERT whose weights are whole and fit, so that the library is
    to read it, or to say what is wrong. `CheckpointError` for numbers that are none, and for all that is wrong with
    packed weights, of which the library knows nothing."""
    config = _plain_config(folder)
    if config is None:
        return None
    packing = config.pop(PACKING, None) == METHOD
    if not packing:
        check_folder(folder)
    elif told := gone_wrong(folder / WEIGHTS):
        raise CheckpointError(f"{folder / WEIGHTS}: {told.format('the weights')}")
    try:
        with safe_open(folder / WEIGHTS, "pt") as opened:
            names = [name for name in opened.keys() if not name.startswith(UNUSED)]  # noqa: SIM118  (no mapping)
            weights = {name: opened.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        if packing:
            raise CheckpointError(f"{folder / WEIGHTS}: damaged or not a safetensors file ({error})") from error
        return None
    with without_weights():
        network = BertNetwork(config)
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    if packing:
        weights = unpack_weights(weights, wanted, str(folder))
    if {name: value.shape for name, value in weights.items()} != wanted:
        return None
    if not all(value.is_floating_point() for value in weights.values()):
        return None
    check_finite(weights.items(), str(folder))
    network.load_state_dict({name: value.to(dtype, copy=not packing) for name, value in weights.items()}, assign=True)
    return network


def _plain_config(folder: Path) -> dict[str, Any] | None:
    if not ((folder / CONFIG).is_file() and (folder / WEIGHTS).is_file()):
        return None
    try:
        config = parse_json(read_text(folder / CONFIG))
    except (OSError, ValueError, json.JSONDecodeError):
        return None
    if not isinstance(config, dict):
        return None
    plain = {**PLAIN, PACKING: METHOD} if config.get(PACKING) == METHOD else PLAIN
    if any(config.get(name, usual) != usual for name, usual in plain.items()):
        return None
    config = {**USUAL, **config}
    sizes = [config.get(name) for name in SIZES]
    if not all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < MOST for size in sizes):
        return None
    small = config["layer_norm_eps"]
    if not isinstance(small, float) or not 0 <= small < 1 or config["hidden_size"] % config["num_attention_heads"]:
        return None
    return config
