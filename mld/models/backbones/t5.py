"""T5 encoder-decoder with its own, untied output head (MotionGPT spec 3.1, 3.2).

transformers 5 ties T5's `lm_head` to the embedding, which silently destroys checkpoints that have two matrices. So
only the stacks come from there; embedding and head are ours. State-dict names are the usual ones of T5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mld.errors import CheckpointError
from mld.models.backbones.layers import IGNORE, WordReader, grown, pad
from mld.models.sizes import check_activation, filled
from mld.padding import mask_of

# Sizes of a model built from scratch; a pretrained one brings its own.
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": 0, "d_model": 256, "d_kv": 64, "d_ff": 640, "num_layers": 4, "num_decoder_layers": 4, "num_heads": 4,
    "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
    "layer_norm_epsilon": 1e-6, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0,
    "scale_decoder_outputs": False,
}  # fmt: skip


class T5Backbone(nn.Module):
    """architecture: all keys of `ARCHITECTURE`. pad_id also starts every answer. rows: width of the features that stand
    before the ids of a prompt; 0 for none."""

    needs_separator = False

    def __init__(self, architecture: Mapping[str, Any], pad_id: int, rows: int = 0) -> None:
        from transformers import T5Config, T5Model

        super().__init__()
        self.architecture, self.pad_id = dict(architecture), pad_id
        sizes = {key: value for key, value in architecture.items() if key != "scale_decoder_outputs"}
        stacks = T5Model(T5Config(**sizes, pad_token_id=pad_id, decoder_start_token_id=pad_id))
        width = architecture["d_model"]
        self.shared, self.encoder, self.decoder = stacks.shared, stacks.encoder, stacks.decoder
        self.lm_head = nn.Linear(width, architecture["vocab_size"], bias=False)
        nn.init.normal_(self.lm_head.weight, std=width**-0.5)
        self._share_embedding()
        self.read = WordReader(rows, width, architecture["initializer_factor"]) if rows else None

    @staticmethod
    def complete(sizes: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
        """All of `ARCHITECTURE` with `sizes` put in; `ConfigError` for an unknown name or a value that
        cannot be."""
        found = {**filled(ARCHITECTURE, sizes), "vocab_size": vocab_size}
        if "num_layers" in sizes and "num_decoder_layers" not in sizes:
            found["num_decoder_layers"] = sizes["num_layers"]
        check_activation("feed_forward_proj", found["feed_forward_proj"])
        return found

    @staticmethod
    def architecture_of(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Sizes from the config.json and the prepared weights of a pretrained T5."""
        if config.get("model_type") not in ("t5", None):
            raise CheckpointError(f"backbone t5 cannot use a pretrained '{config['model_type']}' model")
        sizes = {key: config[key] for key in ARCHITECTURE if key in config}
        sizes.setdefault("feed_forward_proj", "relu")
        sizes["num_decoder_layers"] = config.get("num_decoder_layers") or sizes["num_layers"]
        sizes["scale_decoder_outputs"] = config.get("tie_word_embeddings", True)
        return {**ARCHITECTURE, **sizes, "vocab_size": len(weights["shared.weight"])}

    @staticmethod
    def prepare_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A pretrained state dict in our names; a tied head becomes a copy."""
        unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
        own = {key: value for key, value in weights.items() if key != unused}
        own.setdefault("lm_head.weight", own["shared.weight"].clone())
        for name in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            if not torch.equal(own.setdefault(name, own["shared.weight"]), own["shared.weight"]):
                raise CheckpointError(f"{name} differs from shared.weight; T5 has one embedding")
        return own

    def resize(self, size: int, init: str) -> None:
        """Change the number of rows of embedding and head, each by itself."""
        std = self.architecture["initializer_factor"]
        self.shared.weight = grown(self.shared.weight, size, init, std)
        self.lm_head.weight = grown(self.lm_head.weight, size, init, self.architecture["d_model"] ** -0.5)
        self.shared.num_embeddings = self.lm_head.out_features = self.architecture["vocab_size"] = size
        self._share_embedding()

    def _share_embedding(self) -> None:
        self.encoder.embed_tokens = self.decoder.embed_tokens = self.shared

    @property
    def device(self) -> torch.device:
        return self.shared.weight.device

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden (B, L, C) -> logits (B, L, V) float32."""
        if self.architecture["scale_decoder_outputs"]:
            hidden = hidden * self.architecture["d_model"] ** -0.5
        return self.lm_head(hidden).float()

    def forward(self, ids: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
        """Prompt ids (B, S), mask (B, S), answer so far (B, L) -> logits (B, L + 1, V): one ahead of each token."""
        return self.answered(self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask, answer)

    def encode(self, prompts: Sequence[Sequence[int]], rows: Sequence[Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """States (B, S, C) of prompts, and their mask (B, S). rows: features (R, Z) that stand before each.

        Features are padded on the left, ids on the right: nothing comes between them, as distances count."""
        ids, mask = pad(prompts, self.pad_id, self.device)
        if rows is None:
            return self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask
        before = pad_sequence(list(rows), batch_first=True, padding_side="left").to(self.device)
        there = mask_of([len(row) for row in rows]).flip(1).to(self.device)
        embedded = self.shared(ids)
        embedded = torch.cat((self.read(before.to(embedded.dtype)).to(embedded.dtype), embedded), 1)
        mask = torch.cat((there, mask), 1)
        return self.encoder(inputs_embeds=embedded, attention_mask=mask).last_hidden_state, mask

    def answered(self, memory: Tensor, mask: Tensor, answer: Tensor) -> Tensor:
        """Logits as of `forward` from the states (B, S, C) of prompts."""
        start = answer.new_full((len(answer), 1), self.pad_id)
        hidden = self.decoder(
            input_ids=torch.cat((start, answer), 1), encoder_hidden_states=memory, encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state  # fmt: skip
        return self.logits(hidden)

    def loss(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], seen: Sequence[Sequence[int]],
        rows: Sequence[Tensor] | None = None,
    ) -> Tensor:  # fmt: skip
        """Mean cross-entropy of the answers' tokens. seen: the answers as the decoder gets to see them. rows: as of
        `encode`."""
        memory, mask = self.encode(prompts, rows)
        answer, real = pad(answers, self.pad_id, self.device)
        logits = self.answered(memory, mask, pad(seen, self.pad_id, self.device)[0][:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), answer.masked_fill(~real, IGNORE).flatten(), ignore_index=IGNORE)

    def start(self, prompts: Sequence[Sequence[int]], rows: Sequence[Tensor] | None = None) -> T5Decoding:
        return T5Decoding(self, prompts, rows)

    def next_logits(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], rows: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Logits (B, V) of the token after each answer (all of one length), everything computed anew."""
        answer = torch.tensor(answers, dtype=torch.long, device=self.device).view(len(prompts), -1)
        return self.answered(*self.encode(prompts, rows), answer)[:, -1]


class T5Decoding:
    """The encoder runs once; keys and values of the prompt and of past tokens are kept."""

    def __init__(
        self, backbone: T5Backbone, prompts: Sequence[Sequence[int]], rows: Sequence[Tensor] | None = None
    ) -> None:
        self.backbone = backbone
        self.memory, self.mask = backbone.encode(prompts, rows)
        self.cache = None

    def step(self, ids: Tensor | None) -> Tensor:
        if ids is None:
            ids = torch.full((len(self.memory),), self.backbone.pad_id, device=self.memory.device)
        out = self.backbone.decoder(
            input_ids=ids[:, None], encoder_hidden_states=self.memory, encoder_attention_mask=self.mask,
            past_key_values=self.cache, use_cache=True,
        )  # fmt: skip
        self.cache = out.past_key_values
        return self.backbone.logits(out.last_hidden_state)[:, -1]

    def keep(self, rows: Tensor) -> None:
        self.memory, self.mask = self.memory[rows], self.mask[rows]
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
