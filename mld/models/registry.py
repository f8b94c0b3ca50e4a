"""The families, by kind. A table of names: a class is imported when it is asked for. A new family is one line here."""

from __future__ import annotations

import importlib
from typing import Any

from mld.errors import ConfigError, nearest

FAMILIES: dict[str, dict[str, str]] = {
    "tokenizer": {
        "causal_ae": "mld.models.tokenizers.causal_ae:CausalAE",
        "frames": "mld.models.tokenizers.frames:Frames",
        "fsq_ae": "mld.models.tokenizers.fsq_ae:FSQAE",
        "vae": "mld.models.tokenizers.vae:MotionVAE",
        "vqvae": "mld.models.tokenizers.vqvae:VQVAE",
    },
    "generator": {
        "motiongpt": "mld.models.families.motiongpt.model:MotionGPT",
        "motiongpt3": "mld.models.families.motiongpt3.model:MotionGPT3",
        "motionmillion": "mld.models.families.motionmillion.model:MotionMillion",
        "motionstreamer": "mld.models.families.motionstreamer.model:MotionStreamer",
        "vimogen": "mld.models.families.vimogen.model:ViMoGen",
    },
    "evaluator": {
        "guo": "mld.models.evaluators.guo.model:GuoEvaluator",
        "tmr": "mld.models.evaluators.tmr.model:TMR",
        "tmr272": "mld.models.evaluators.tmr.tmr272:TMR272",
    },
    "text_encoder": {
        "bert": "mld.models.text_encoders.bert:BertEncoder",
        "bert_words": "mld.models.text_encoders.bert:WordsBertEncoder",
        "clip": "mld.models.text_encoders.clip:ClipEncoder",
        "stored": "mld.models.text_encoders.stored:StoredEncoder",
        "sentence_t5": "mld.models.text_encoders.t5:SentenceT5Encoder",
        "t5": "mld.models.text_encoders.t5:T5Encoder",
        "umt5": "mld.models.text_encoders.umt5:UMT5Encoder",
    },
}


def find(kind: str, family: str) -> type[Any]:
    """The class of a `kind` and `family`, a `Network` or, of the kind "text_encoder", a `TextEncoder`; `ConfigError`
    names the nearest."""
    kind, family = str(kind), str(family)  # a config may hold anything
    known = FAMILIES.get(kind)
    if known is None:
        raise ConfigError(f"no kind of network '{kind}'; {nearest(kind, FAMILIES)}")
    if family not in known:
        raise ConfigError(f"no {kind} family '{family}'; {nearest(family, known)}")
    module, _, name = known[family].partition(":")
    return getattr(importlib.import_module(module), name)
