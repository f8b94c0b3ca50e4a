"""CLIP's text encoder: token states behind the last norm, and the projected state of the end token as the sentence.

The sentence is CLIP's text embedding as published, not made of length 1. A folder may hold the whole of CLIP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.text_encoders.encoder import DTYPES, PretrainedTextEncoder
from mld.models.text_encoders.loading import load_config, load_transformer


class ClipEncoder(PretrainedTextEncoder, family="clip"):
    """At most 77 tokens, start and end included."""

    longest = 77

    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        from transformers import CLIPTextModelWithProjection

        tokenizer, config = load_text_tokenizer(folder), load_config(folder)
        if whole := getattr(config, "text_config", None):  # of a whole CLIP, whose text part may not know the width
            config, whole.projection_dim = whole, config.projection_dim
        return load_transformer(CLIPTextModelWithProjection, folder, DTYPES[self.dtype], config=config), tokenizer

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        found = self.model(input_ids=ids, attention_mask=mask.long())
        return found.last_hidden_state, found.text_embeds

    def measure_sentence(self) -> int:
        return int(self.model.config.projection_dim)
