"""A T5 text tokenizer with a real sentence-piece pipeline (unigram, metaspace, a normaliser that strips), made here."""

from __future__ import annotations

import json
import re
from pathlib import Path

BLANK = "▁"
TEXTS = (
    "Generate text: Predict motion: Complete the masked motion: Generate motion with 120 frames.",
    "Describe this, please.",
    "a person walks forward, then stops and sits down. someone jumps up twice",
)


def write_sentence_piece(folder: Path, sentinels: int = 100) -> int:
    """tokenizer.json and tokenizer_config.json as Flan-T5 has them; gives the number of tokens."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    words = sorted({f"{BLANK}{word}" for text in TEXTS for word in re.findall(r"[A-Za-z0-9]+", text)})
    letters = [chr(code) for code in range(33, 127)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), (BLANK, -2.0)]
    pieces += [(word, -6.0) for word in words] + [(letter, -9.0) for letter in letters]
    extra = [f"<extra_id_{i}>" for i in reversed(range(sentinels))]
    made = Tokenizer(models.Unigram([*pieces, *((name, 0.0) for name in extra)], unk_id=2))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Strip(left=False), normalizers.Replace(Regex(" {2,}"), BLANK)]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement=BLANK, prepend_scheme="always")
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    made.add_special_tokens([AddedToken(name, normalized=False) for name in ("<pad>", "</s>", "<unk>", *extra)])
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
        "extra_ids": sentinels, "additional_special_tokens": extra, "model_max_length": 512,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return made.get_vocab_size()
