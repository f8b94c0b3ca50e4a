"""Two-branch GPT-2 (mixture of transformers): text and motion have norms, projections and MLPs of their own and meet
in one attention over the joint sequence (MotionGPT3 spec 2).

Hidden states travel as streams, {modality: rows (N, C)}: a row of the sequence is computed by its own branch only, and
only attention needs the order of the sequence. A batch of one modality (a step of text) is one stream and costs what
a GPT-2 costs. Nothing is remembered between calls but the cache. State-dict names are those of the published
checkpoints, without the copies of the tied text table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mld.errors import ConfigError, RequestError
from mld.models.backbones.layers import grown
from mld.models.backbones.mot_attention import MODALITIES, KVCache, LayerCache, Sight, attend, shared_layers
from mld.models.sizes import filled

# Sizes of a model built from scratch. vocab_size: rows of the text table, with the two boundary tokens of motions.
# foreign_keys: what a layer that is not shared sees of the other modality, "bias" (as published) or "masked".
# motion_embedding_std: of the motion table at the start, published 1 where all else has `initializer_range`.
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 0, "text_pad_id": 0, "motion_vocab_size": 6, "motion_pad_id": 1, "n_embd": 256, "n_layer": 4,
    "n_head": 4, "n_positions": 512, "n_inner": None, "attention_mode": "all", "foreign_keys": "bias",
    "activation_function": "gelu_new", "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5, "initializer_range": 0.02, "motion_embedding_std": 1.0,
}  # fmt: skip
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": partial(F.gelu, approximate="tanh"), "gelu": F.gelu, "relu": F.relu, "silu": F.silu,
}  # fmt: skip

Streams = dict[int, Tensor]


class Conv1D(nn.Module):
    """A linear layer whose weight is stored (in, out), as in GPT-2."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class MLP(nn.Module):
    def __init__(self, width: int, inner: int, activation: str) -> None:
        super().__init__()
        self.c_fc, self.c_proj = Conv1D(width, inner), Conv1D(inner, width)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.activation(self.c_fc(x)))


class PerModality(nn.Module):
    """The same kind of module once for each modality; a stream passes through its own."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.fn = nn.ModuleList(make() for _ in MODALITIES)

    def forward(self, streams: Streams) -> Streams:
        return {m: self.fn[m](x) for m, x in streams.items()}


class Routing:
    """Which rows of a batch (B, T) belong to which stream.

    types: (B, T), 0 text, 1 motion, -1 neither (not computed, 0 where merged); or one number for the whole batch.
    With a tensor both streams exist, be they empty, so that all parameters get a gradient."""

    def __init__(self, types: Tensor | int, shape: tuple[int, int], device: torch.device) -> None:
        self.shape = shape
        self.single = types if isinstance(types, int) else None
        self.types = torch.full(shape, types, device=device) if isinstance(types, int) else types
        if self.single is None:
            flat = types.flatten()
            self.rows = {m: (flat == m).nonzero()[:, 0] for m in MODALITIES}
            self.order = torch.cat(tuple(self.rows.values()))

    def split(self, packed: Tensor) -> Streams:
        """(B, T, C) -> streams."""
        flat = packed.flatten(0, 1)
        if self.single is not None:
            return {self.single: flat}
        return {m: flat.index_select(0, rows) for m, rows in self.rows.items()}

    def merge(self, streams: Streams) -> Tensor:
        """Streams -> (B, T, C)."""
        if self.single is not None:
            return streams[self.single].unflatten(0, self.shape)
        rows = torch.cat([streams[m] for m in self.rows])
        packed = rows.new_zeros(self.shape[0] * self.shape[1], rows.shape[1])
        return packed.index_copy(0, self.order, rows).unflatten(0, self.shape)


class Block(nn.Module):
    """shared: one attention over both modalities; else each modality keeps to itself."""

    def __init__(self, a: Mapping[str, Any], shared: bool) -> None:
        super().__init__()
        width, inner, eps = a["n_embd"], a["n_inner"] or 4 * a["n_embd"], a["layer_norm_epsilon"]
        self.heads, self.shared, self.attention_dropout = a["n_head"], shared, a["attn_pdrop"]
        self.ln_1 = PerModality(lambda: nn.LayerNorm(width, eps))
        self.c_attn = PerModality(lambda: Conv1D(width, 3 * width))
        self.c_proj = PerModality(lambda: Conv1D(width, width))
        self.ln_2 = PerModality(lambda: nn.LayerNorm(width, eps))
        self.mlp = PerModality(lambda: MLP(width, inner, a["activation_function"]))
        self.dropout = nn.Dropout(a["resid_pdrop"])

    def forward(self, streams: Streams, routing: Routing, sight: Sight, cache: LayerCache | None) -> Streams:
        qkv = routing.merge(self.c_attn(self.ln_1(streams)))
        biases = None if self.shared else torch.stack([projection.bias for projection in self.c_attn.fn])
        dropout = self.attention_dropout if self.training else 0.0
        context = routing.split(attend(qkv, self.heads, sight, cache, dropout, biases))
        streams = self._add(streams, self.c_proj(context))
        return self._add(streams, self.mlp(self.ln_2(streams)))

    def _add(self, streams: Streams, change: Streams) -> Streams:
        return {m: x + self.dropout(change[m]) for m, x in streams.items()}


class MoTGPT2(nn.Module):
    """architecture: all keys of `ARCHITECTURE`; `ConfigError` where they do not fit each other."""

    def __init__(self, architecture: Mapping[str, Any], gradient_checkpointing: bool = False) -> None:
        super().__init__()
        a = self.architecture = dict(architecture)
        self.gradient_checkpointing = gradient_checkpointing
        _check(a)
        shared = shared_layers(str(a["attention_mode"]), a["n_layer"])
        self.foreign_keys = None if all(shared) else a["foreign_keys"]
        width = a["n_embd"]
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(a["vocab_size"], width),
                "wpe": nn.Embedding(a["n_positions"], width),
                "h": nn.ModuleList(Block(a, together) for together in shared),
                "ln_f": PerModality(lambda: nn.LayerNorm(width, a["layer_norm_epsilon"])),
            }
        )
        # By modality; those of text are the text table itself.
        self.pre_processors = nn.ModuleDict({"1": nn.Embedding(a["motion_vocab_size"], width, a["motion_pad_id"])})
        self.post_processors = nn.ModuleDict({"1": nn.Linear(width, a["motion_vocab_size"], bias=False)})
        self.dropout = nn.Dropout(a["embd_pdrop"])
        self._initialise()

    @staticmethod
    def complete(sizes: Mapping[str, Any], vocab_size: int, text_pad_id: int) -> dict[str, Any]:
        """All of `ARCHITECTURE` with `sizes` put in; `ConfigError` for an unknown name or a value that
        cannot be."""
        return {**filled(ARCHITECTURE, sizes), "vocab_size": vocab_size, "text_pad_id": text_pad_id}

    @torch.no_grad()
    def _initialise(self) -> None:
        """As published (spec 2.5): only the output projections of the MLPs, not those of attention, are scaled down
        with depth, and the motion table is much wider than the text table."""
        std = self.architecture["initializer_range"]
        for name, weight in self.named_parameters():
            if name.endswith("c_proj.weight") and ".mlp." in name:
                weight.normal_(std=std / (2 * self.architecture["n_layer"]) ** 0.5)
            elif weight.dim() == 2:
                weight.normal_(std=std)
        table = self.pre_processors["1"]
        table.weight.normal_(std=self.architecture["motion_embedding_std"])
        table.weight[table.padding_idx] = 0
        self.post_processors["1"].weight.normal_(std=0.01)

    def resize_text(self, rows: int, init: str = "mean") -> None:
        """Change the number of rows of the text table, which is also the head. init: see `layers.grown`."""
        table = self.transformer["wte"]
        table.weight = grown(table.weight, rows, init, self.architecture["initializer_range"])
        table.num_embeddings = self.architecture["vocab_size"] = rows

    @property
    def device(self) -> torch.device:
        return self.transformer["wte"].weight.device

    def check_length(self, length: int) -> None:
        if length > self.architecture["n_positions"]:
            raise RequestError(
                f"prompt and answer need {length} tokens, this model has {self.architecture['n_positions']} positions"
            )

    def new_cache(self) -> KVCache:
        return KVCache(self.architecture["n_layer"])

    def embed(self, ids: Tensor, types: Tensor | int) -> Tensor:
        """Modality-local ids (B, T) and their modalities -> embeddings (B, T, C), without positions."""
        tables = (self.transformer["wte"], self.pre_processors["1"])
        if isinstance(types, int):
            return tables[types](ids)
        motion = types == 1
        text = tables[0](ids.masked_fill(motion, self.architecture["text_pad_id"]))
        return torch.where(motion[..., None], tables[1](ids.masked_fill(~motion, tables[1].padding_idx)), text)

    def forward(
        self,
        embeddings: Tensor,
        types: Tensor | int,
        mask: Tensor,
        positions: Tensor | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Embeddings (B, T, C) of new positions -> their hidden states (B, T, C) after the last norm.

        types: (B, T), 0 text, 1 motion, -1 not computed (hidden 0), or one number for all. mask: (B, S) bool, real
        keys among all positions so far, those of the cache first; masked positions are computed but not seen.
        positions: (B, T), by default counted along the sequence, padding included."""
        length = embeddings.shape[1]
        past = cache.length if cache else 0
        if positions is None:
            self.check_length(past + length)
            positions = torch.arange(past, past + length, device=embeddings.device)
        routing = Routing(types, embeddings.shape[:2], embeddings.device)
        key_types = cache.append_types(routing.types) if cache else routing.types
        sight = Sight.build(mask, routing.types, key_types, self.foreign_keys)
        streams = routing.split(self.dropout(embeddings + self.transformer["wpe"](positions)))
        for i, block in enumerate(self.transformer["h"]):
            layer_cache = cache.layers[i] if cache else None
            if self.gradient_checkpointing and self.training and torch.is_grad_enabled():
                streams = checkpoint(block, streams, routing, sight, layer_cache, use_reentrant=False)
            else:
                streams = block(streams, routing, sight, layer_cache)
        return routing.merge(self.transformer["ln_f"](streams))

    def text_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., C) of text -> logits (..., vocab_size) float32."""
        return F.linear(hidden, self.transformer["wte"].weight).float()

    def motion_logits(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., C) of motion -> logits (..., motion_vocab_size) float32."""
        return self.post_processors["1"](hidden).float()


def _check(a: Mapping[str, Any]) -> None:
    if a["n_embd"] % a["n_head"]:
        raise ConfigError(f"lm.architecture: n_embd {a['n_embd']} is not a multiple of n_head {a['n_head']}")
    for name, known in (("activation_function", tuple(ACTIVATIONS)), ("foreign_keys", ("bias", "masked"))):
        if a[name] not in known:
            raise ConfigError(f"lm.architecture.{name} '{a[name]}' is not one of {', '.join(known)}")
