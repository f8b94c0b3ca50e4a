"""A small plain BERT with a WordPiece tokenizer, written to disk without transformers."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch

from mld.models.text_encoders.bert_network import BertNetwork

SENTENCES = ("a person walks forward.", "someone jumps twice", "the zqx waves, walking", "turns left 3 times", "")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PIECES = (
    "person", "walks", "forward", "someone", "jumps", "twice", "the", "waves", "walk", "##ing", "turns", "left",
    "times", "right", "kicks", "runs", "sits", "stands", "crawls", "dances", "throws", "climbs", "hops",
)  # fmt: skip


def write_bert(folder: Path, width: int = 64, seed: int = 0) -> Path:
    """Of two layers, and pieces that spell every word of small letters and digits."""
    letters = [*string.ascii_lowercase, *string.digits, ".", ","]
    names = [*SPECIAL, "[unused0]", *letters, *(f"##{letter}" for letter in letters[:36]), *PIECES]
    vocabulary = {name: number for number, name in enumerate(names)}
    around = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
              {"SpecialToken": {"id": "[SEP]", "type_id": 0}}]  # fmt: skip
    pipeline = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [
            {"id": vocabulary[name], "content": name, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True} for name in SPECIAL
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing", "single": around, "pair": around,
            "special_tokens": {name: {"id": name, "ids": [vocabulary[name]], "tokens": [name]}
                               for name in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    }  # fmt: skip
    sizes = {
        "model_type": "bert", "vocab_size": len(names), "hidden_size": width, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 128, "max_position_embeddings": 32, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "pad_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(seed)
    network = BertNetwork(sizes)
    network.save_pretrained(str(folder))
    (folder / "tokenizer.json").write_text(json.dumps(pipeline))
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
