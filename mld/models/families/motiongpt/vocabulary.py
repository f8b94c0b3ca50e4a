"""One vocabulary for text and motion: the motion tokens follow the last text token (MotionGPT spec 3.2).

Ids are built from codes directly; strings are only needed for text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.backbones.text_tokenizer import letters_of, save_text_tokenizer
from mld.models.families.motiongpt.strings import token_name

EXTRA = 3  # start, end and mask


class MotionVocabulary:
    """A text tokenizer (transformers) with K + 3 ordinary (not special) tokens `<motion_id_i>` added at its end.

    With a sentence-piece model they are found after the text was normalised, as published: a normaliser that strips
    then leaves the blank before a motion, which is a piece of its own. Tokens that are there stay as they are."""

    def __init__(self, tokenizer, codebook_size: int) -> None:
        from tokenizers import AddedToken, models

        names, known = [token_name(i) for i in range(codebook_size + EXTRA)], tokenizer.get_vocab()
        if token_name(0) not in known:
            normalized = isinstance(tokenizer.backend_tokenizer.model, models.Unigram)
            tokenizer.add_tokens([AddedToken(name, normalized=normalized) for name in names])
        ids = tokenizer.convert_tokens_to_ids(names)
        if ids != list(range(len(tokenizer) - len(names), len(tokenizer))):
            raise CheckpointError(
                f"the text tokenizer already holds motion tokens of another codebook than {codebook_size} codes"
            )
        self.tokenizer = tokenizer
        self.codebook_size = codebook_size
        self.text_size = ids[0]
        self.size = len(tokenizer)
        self.start_id, self.end_id, self.mask_id = ids[-3:]
        if tokenizer.eos_token_id is None:
            raise CheckpointError("the text tokenizer has no token that ends a text; is it that of a language model?")
        self.eos_id: int = tokenizer.eos_token_id
        self.pad_id = self.eos_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self.first_sentinel = self.text_size - 1

    @cached_property
    def letters(self) -> frozenset[str]:
        """What texts can be written with as the model knows it."""
        return letters_of(self.tokenizer)

    def save(self, folder: Path) -> None:
        save_text_tokenizer(self.tokenizer, folder)

    def text_ids(self, text: str, after_motion: bool = False, before_motion: bool = False) -> list[int]:
        """Ids of a text, without an end of sequence. after_motion, before_motion: where a motion stands beside it, as
        blanks there may be a piece."""
        if not text:
            return []
        before = token_name(self.codebook_size + 1) if after_motion else ""
        after = token_name(self.codebook_size) if before_motion else ""
        ids = self.tokenizer(f"{before}{text}{after}", add_special_tokens=False, verbose=False)["input_ids"]
        return ids[1 if before else 0 : -1 if after else None]

    def code_ids(self, codes: Tensor | Sequence[int]) -> list[int]:
        """Ids of codes (L,), without start and end."""
        values = codes.tolist() if isinstance(codes, Tensor) else codes
        return [self.text_size + int(code) for code in values]

    def motion_ids(self, codes: Tensor | Sequence[int]) -> list[int]:
        """Ids of a whole motion: start, codes, end."""
        return [self.start_id, *self.code_ids(codes), self.end_id]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens are dropped, motion tokens stay."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True).strip()

    def motion_mask(self) -> Tensor:
        """(size,) bool: which ids are codes (not start, end, mask)."""
        mask = torch.zeros(self.size, dtype=torch.bool)
        mask[self.text_size : self.text_size + self.codebook_size] = True
        return mask

    def text_mask(self) -> Tensor:
        """(size,) bool: which ids are text: neither motion nor special, but with the end of sequence."""
        mask = torch.ones(self.size, dtype=torch.bool)
        mask[self.text_size :] = False
        mask[[i for i in self.tokenizer.all_special_ids if i < self.size]] = False
        mask[[i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special]] = False
        mask[self.eos_id] = True
        return mask
