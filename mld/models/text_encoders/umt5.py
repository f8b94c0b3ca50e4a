"""UMT5, whose layers have relative positions of their own: token features of cleaned texts (vimogen spec 2).

Read from a Hugging Face folder, or from the published form: a folder with `models_t5_umt5*.pth` and its text tokenizer
below, in `google/umt5-xxl`, as the Wan2.1 releases have it. The features of the empty text, one row, are the null
context of guidance.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from mld.errors import CheckpointError, missing_extra
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.conversion.state_dict import read_state_dict
from mld.models.text_encoders.encoder import DTYPES, PretrainedTextEncoder
from mld.models.text_encoders.loading import load_transformer, masked_mean
from mld.models.text_encoders.t5 import EMBEDDINGS_AGAIN

KEYS = Path(__file__).with_name("umt5_keymap.yaml")
PUBLISHED = "models_t5_umt5*.pth"
TOKENIZER = Path("google") / "umt5-xxl"
PLAIN = re.compile(r"[ -%'-~\s]*", re.ASCII)  # printable ASCII but "&": ftfy has nothing to mend


class UMT5Encoder(PretrainedTextEncoder, family="umt5"):
    """At most 512 tokens, `</s>` included."""

    optional = (EMBEDDINGS_AGAIN,)

    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        from transformers import UMT5EncoderModel

        if file := published_file(folder):
            place = folder / TOKENIZER if (folder / TOKENIZER).is_dir() else folder
            return from_published(read_state_dict(file), str(file), DTYPES[self.dtype]), load_text_tokenizer(place)
        tokenizer = load_text_tokenizer(folder)
        return load_transformer(UMT5EncoderModel, folder, DTYPES[self.dtype], self.optional), tokenizer

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states, masked_mean(states, mask)

    def clean(self, text: str) -> str:
        return clean_text(text)


def published_file(folder: Path) -> Path | None:
    """The weights in their published form, None where there are none."""
    return next(iter(sorted(folder.glob(PUBLISHED))), None)


def from_published(weights: Mapping[str, Tensor], where: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """The encoder of published weights; sizes come from the shapes. `CheckpointError` when anything is left over."""
    from transformers import UMT5Config, UMT5EncoderModel

    own = {name: value.to(dtype) for name, value in translate(weights, where).items()}
    try:
        vocabulary, width = own["shared.weight"].shape
        buckets, heads = own["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"].shape
        inner = len(own["encoder.block.0.layer.0.SelfAttention.q.weight"])
        hidden = len(own["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"])
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{where}: not a UMT5 encoder ({error})") from error
    config = UMT5Config(
        vocab_size=vocabulary, d_model=width, d_kv=inner // heads, d_ff=hidden, num_heads=heads,
        num_layers=len({key.split(".")[2] for key in own if key.startswith("encoder.block.")}),
        relative_attention_num_buckets=buckets, relative_attention_max_distance=128,
        feed_forward_proj="gated-gelu", layer_norm_epsilon=1e-6,
    )  # fmt: skip
    with torch.device("meta"):
        model = UMT5EncoderModel(config)
    try:
        model.load_state_dict({**own, EMBEDDINGS_AGAIN + "weight": own["shared.weight"]}, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{where}: not a UMT5 encoder ({reason})") from error
    return model


def translate(weights: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Published names -> those of the library; `CheckpointError` names the first that the key map does not know."""
    rules = [(re.compile(theirs), ours) for theirs, ours in yaml.safe_load(KEYS.read_text(encoding="utf-8")).items()]
    own: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = next((rule.sub(ours, key) for rule, ours in rules if rule.fullmatch(key)), None)
        if not value.is_floating_point():
            raise CheckpointError(f"{where}: {key} is {value.dtype}; quantised weights cannot be read")
        if name is None:
            raise CheckpointError(f"{where}: not a UMT5 encoder, nothing is known of {key}")
        own[name] = value
    return own


def clean_text(text: str) -> str:
    """Wrong encodings mended, HTML entities resolved (twice), blanks made single; case is kept.

    Texts of other letters than ASCII need the package ftfy."""
    if not PLAIN.fullmatch(text):
        if find_spec("ftfy") is None:
            raise missing_extra("ftfy", "clean")
        import ftfy

        text = ftfy.fix_text(text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()
