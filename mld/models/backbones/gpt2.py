"""GPT-2 decoder-only backbone: prompt, separator and answer in one sequence (MotionGPT spec 3.1, 3.7).

The head is tied to the embedding, as in GPT-2. Batched prompts stand at the right end while decoding (left padding)
and positions count real tokens, so an answer does not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import CheckpointError, ConfigError, RequestError
from mld.models.backbones.layers import IGNORE, grown, pad
from mld.models.sizes import check_activation, filled

ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 0, "n_embd": 256, "n_layer": 4, "n_head": 4, "n_positions": 512, "n_inner": None,
    "activation_function": "gelu_new", "embd_pdrop": 0.1, "attn_pdrop": 0.1, "resid_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5, "initializer_range": 0.02,
}  # fmt: skip


class GPT2Backbone(nn.Module):
    """architecture: all keys of `ARCHITECTURE`. mask_prompt leaves the prompt's tokens out of the loss."""

    needs_separator = True

    def __init__(self, architecture: Mapping[str, Any], pad_id: int, mask_prompt: bool = False) -> None:
        from transformers import GPT2Config, GPT2Model

        super().__init__()
        self.architecture, self.pad_id, self.mask_prompt = dict(architecture), pad_id, mask_prompt
        self.transformer = GPT2Model(GPT2Config(**architecture, bos_token_id=pad_id, eos_token_id=pad_id))

    @staticmethod
    def complete(sizes: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
        """All of `ARCHITECTURE` with `sizes` put in; `ConfigError` for an unknown name or a value that
        cannot be."""
        found = {**filled(ARCHITECTURE, sizes), "vocab_size": vocab_size}
        check_activation("activation_function", found["activation_function"])
        width, heads = found["n_embd"], found["n_head"]
        if width % heads:
            raise ConfigError(f"lm.architecture: n_embd {width} is not a multiple of n_head {heads}")
        return found

    @staticmethod
    def architecture_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Sizes from the config.json and the prepared weights of a pretrained GPT-2."""
        if config.get("model_type") not in ("gpt2", None):
            raise CheckpointError(f"backbone gpt2 cannot use a pretrained '{config['model_type']}' model")
        sizes = {key: config[key] for key in ARCHITECTURE if key in config}
        return {**ARCHITECTURE, **sizes, "vocab_size": len(weights["transformer.wte.weight"])}

    @staticmethod
    def prepare_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A pretrained state dict in our names: with the prefix, without attention masks and the tied head."""
        masks = (".attn.bias", ".attn.masked_bias")
        names = {key: key if key.startswith("transformer.") else f"transformer.{key}" for key in weights}
        own = {new: weights[key] for key, new in names.items() if key != "lm_head.weight" and not key.endswith(masks)}
        head = weights.get("lm_head.weight")
        if head is not None and not torch.equal(head, own["transformer.wte.weight"]):
            raise CheckpointError("this GPT-2 has an output head that differs from its embedding; only tied ones fit")
        return own

    def resize(self, size: int, init: str) -> None:
        """Change the number of rows of the embedding, which is also the head."""
        table = self.transformer.wte
        table.weight = grown(table.weight, size, init, self.architecture["initializer_range"])
        table.num_embeddings = self.architecture["vocab_size"] = size

    @property
    def device(self) -> torch.device:
        return self.transformer.wte.weight.device

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden (B, L, C) -> logits (B, L, V) float32."""
        return F.linear(hidden, self.transformer.wte.weight).float()

    def check_length(self, length: int) -> None:
        if length > self.architecture["n_positions"]:
            raise RequestError(
                f"prompt and answer need {length} tokens, this model has {self.architecture['n_positions']} positions"
            )

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids (B, L), right-padded, mask (B, L) -> logits (B, L, V)."""
        out = self.transformer(input_ids=ids, attention_mask=mask.long(), use_cache=False)
        return self.logits(out.last_hidden_state)

    def loss(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], seen: Sequence[Sequence[int]]
    ) -> Tensor:
        """Mean cross-entropy of all real tokens; with `mask_prompt` of the answers' tokens. seen: the answers as the
        model gets to see them."""
        limit = self.architecture["n_positions"]
        shown, _ = pad([[*p, *s][:limit] for p, s in zip(prompts, seen, strict=True)], self.pad_id, self.device)
        ids, mask = pad([[*p, *a][:limit] for p, a in zip(prompts, answers, strict=True)], self.pad_id, self.device)
        labels = ids.masked_fill(~mask, IGNORE)
        if self.mask_prompt:
            for row, prompt in zip(labels, prompts, strict=True):
                row[: len(prompt)] = IGNORE
        logits = self(shown, mask)[:, :-1]
        return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE)

    def start(self, prompts: Sequence[Sequence[int]]) -> GPT2Decoding:
        return GPT2Decoding(self, prompts)

    def next_logits(self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Tensor:
        """Logits (B, V) of the token after each answer, everything computed anew."""
        ids, mask = pad([[*p, *a] for p, a in zip(prompts, answers, strict=True)], self.pad_id, self.device)
        last = mask.sum(1) - 1
        return self(ids, mask)[torch.arange(len(ids), device=ids.device), last]


class GPT2Decoding:
    """Keys and values of prompt and past tokens are kept."""

    def __init__(self, backbone: GPT2Backbone, prompts: Sequence[Sequence[int]]) -> None:
        self.backbone = backbone
        self.prompt, self.mask = pad(prompts, backbone.pad_id, backbone.device, left=True)
        self.cache = None

    def step(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            new, positions = self.prompt, (self.mask.cumsum(1) - 1).clamp(min=0)
        else:
            new, positions = ids[:, None], self.mask.sum(1, keepdim=True)
            self.mask = torch.cat((self.mask, torch.ones_like(self.mask[:, :1])), 1)
        self.backbone.check_length(int(positions.max()) + 1)
        out = self.backbone.transformer(
            input_ids=new, attention_mask=self.mask.long(), position_ids=positions, past_key_values=self.cache,
            use_cache=True,
        )  # fmt: skip
        self.cache = out.past_key_values
        return self.backbone.logits(out.last_hidden_state[:, -1:])[:, 0]

    def keep(self, rows: Tensor) -> None:
        self.mask = self.mask[rows]
        self.prompt = self.prompt[rows]
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
