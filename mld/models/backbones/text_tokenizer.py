"""A small text tokenizer trained on captions, for models built without a pretrained language model.

Byte-level BPE on lower-cased text: any input can be written and comes back with its spaces and punctuation. Ids follow
T5's habits: pad 0, `</s>` 1, `<unk>` 2, and the sentinels `<extra_id_99>` ... `<extra_id_0>` last, in falling order.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mld.errors import CheckpointError

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
SENTINELS = 100


def train_text_tokenizer(corpus: Iterable[str], vocabulary: int):
    """A `PreTrainedTokenizerFast` of at most `vocabulary` pieces (at least 260: every byte is one) plus sentinels."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(unk_token=UNK))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip(left=False),
            normalizers.Prepend(" "), normalizers.Replace(Regex(r"\s+"), " "),
        ]
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=max(vocabulary, 260), min_frequency=2, special_tokens=[PAD, EOS, UNK], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(corpus, trainer)
    sentinels = [f"<extra_id_{i}>" for i in reversed(range(SENTINELS))]
    tokenizer.add_special_tokens([AddedToken(name, normalized=False) for name in sentinels])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, unk_token=UNK, clean_up_tokenization_spaces=False
    )


def load_text_tokenizer(folder: str | Path):
    """The text tokenizer stored in a folder; `CheckpointError` when there is none."""
    from transformers import AutoTokenizer

    folder = Path(folder)
    if not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(f"{folder}: no text tokenizer here (tokenizer_config.json is missing)")
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder}: the text tokenizer cannot be read ({error})") from error
