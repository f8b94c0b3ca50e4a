"""Text ids, the two tokens around a clip, and the motion ids that hold its place (MotionGPT3 spec 3.1).

Ids follow the last text token in the published order. They are never tokens of the text tokenizer itself, so no text
that a user types can contain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from mld.errors import CheckpointError
from mld.models.backbones.text_tokenizer import letters_of, save_text_tokenizer
from mld.models.prompts import PLACEHOLDER

BOUNDARIES = 2  # start and end of a motion are text
NAMES = (
    "<start_of_motion>", "<end_of_motion>", "<masked_motion>", "<pad_motion>", "<motion_latent_holder_output>",
    "<motion_latent_holder>",
)  # fmt: skip


class HolderVocabulary:
    """A text tokenizer (transformers, N tokens) and six ids from N on.

    Ids below `size` are text, N of the tokenizer and the two boundaries; the rest are motion, numbered from 0 in their
    own table: id - size. `eos_id` ends a sequence and pads it."""

    def __init__(self, tokenizer) -> None:
        known = tokenizer.get_vocab()
        first = known.get(NAMES[0], len(tokenizer))
        registered = [known[name] for name in NAMES if name in known]
        if registered != list(range(first, first + len(registered))) or first + len(registered) != len(tokenizer):
            raise CheckpointError(f"the text tokenizer has other tokens than {', '.join(NAMES)} at its end")
        if tokenizer.eos_token_id is None:
            raise CheckpointError("the text tokenizer has no end-of-sequence token; set its eos_token")
        self.tokenizer = tokenizer
        self.start_id, self.end_id, self.mask_id, self.pad_motion_id, self.output_id, self.input_id = range(
            first, first + len(NAMES)
        )
        self.size = first + BOUNDARIES
        self.eos_id: int = tokenizer.eos_token_id
        self._registered = len(registered)

    @cached_property
    def letters(self) -> frozenset[str]:
        """What texts can be written with as the model knows it."""
        return letters_of(self.tokenizer)

    def save(self, folder: Path) -> None:
        save_text_tokenizer(self.tokenizer, folder)

    def text_ids(self, text: str) -> list[int]:
        """Ids of a text, without an end of sequence. Names of motion tokens in it are left out."""
        if self._registered:
            for name in NAMES:
                text = text.replace(name, "")
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else []

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids without end of sequence; each motion is `<Motion_Placeholder>`, line breaks are blanks."""
        text, run = "", []
        for i in ids:
            if i < self.start_id:
                run.append(i)
            elif i == self.start_id:
                text, run = text + self._text(run) + PLACEHOLDER, []
        return (text + self._text(run)).replace("\n", " ")

    def _text(self, ids: Sequence[int]) -> str:
        ids = [i for i in ids if i != self.eos_id]
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def text_mask(self) -> Tensor:
        """(size,) bool: what an answer in text may hold: no boundary, nothing special but the end of sequence."""
        mask = torch.ones(self.size, dtype=torch.bool)
        special = {i for i, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        mask[[i for i in {*special, *self.tokenizer.all_special_ids} if i < self.size]] = False
        mask[[self.start_id, self.end_id]] = False
        mask[self.eos_id] = True
        return mask
