"""How text and clips become one row of ids: `<prompt> \\n <answer><eos>` (MotionGPT3 spec 3.1, 3.4, 3.6).

A clip is a few placeholder tokens (`holders`) between a start and an end token. Prompt and answer
are read apart, the blank before a word of the answer belongs to the answer; GPT-2's splitting gives the same ids for
the joined string.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from mld.errors import DataError
from mld.example import Clip, Segment
from mld.models import prompts
from mld.models.contracts.generator import Output
from mld.models.families.motiongpt3.config import MotionGPT3Config
from mld.models.families.motiongpt3.vocabulary import HolderVocabulary

BREAK = " \n"

Latents = Mapping[int, Tensor]  # scaled latent (S, C) of a clip, by the id() of the clip


@dataclass(frozen=True, eq=False)
class Prompt:
    """What asks for an answer: ids, with the placeholders of a wanted motion; latents (S, C) of the given clips;
    all of its text. rows (R, Z): features of its words, in place of the first R ids."""

    ids: tuple[int, ...]
    given: tuple[Tensor, ...]
    output: Output
    text: str = ""
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Row:
    """A training row: ids, the first `prompt_length` of them the prompt; latents (S, C) of given and wanted clips;
    frames of the whole motion that each wanted clip belongs to, 0 where unknown. rows: as of `Prompt`."""

    ids: tuple[int, ...]
    prompt_length: int
    given: tuple[Tensor, ...]
    wanted: tuple[Tensor, ...]
    frames: tuple[int, ...]
    rows: Tensor | None = None


@dataclass
class _Piece:
    """Ids of a text or of a clip; the last `kept` ids cannot be cut off."""

    ids: list[int]
    kept: int

    @property
    def spare(self) -> int:
        return len(self.ids) - self.kept

    def cut(self, count: int) -> None:
        del self.ids[self.spare - count : self.spare]


class Layout:
    def __init__(self, vocabulary: HolderVocabulary, config: MotionGPT3Config) -> None:
        self.vocabulary, self.config = vocabulary, config

    def row(
        self, prompt: Sequence[Segment], target: Sequence[Segment], latents: Latents, num_frames: int = 0,
        limit: int | None = None, rows: Tensor | None = None,
    ) -> Row:
        """The row of formatted prompt and target. num_frames: length of the whole clip, 0 for unknown. rows (R, Z):
        features of words.

        limit: most ids; the longest text is cut at its end to fit, and `DataError` says when that is not enough."""
        head, tail = self._prompt(prompt, in_words=not isinstance(target[0], Clip)), self._target(target)
        head = [*self._told(rows), *head]
        fit([*head, *tail], limit)
        given, wanted = (tuple(part for part in side if isinstance(part, Clip)) for side in (prompt, target))
        return Row(
            tuple(i for piece in (*head, *tail) for i in piece.ids),
            sum(len(piece.ids) for piece in head),
            tuple(latents[id(clip)] for clip in given),
            tuple(latents[id(clip)] for clip in wanted),
            tuple(num_frames or _whole(clip) for clip in wanted),
            rows,
        )

    def prompt(
        self, prompt: Sequence[Segment], output: Output, latents: Latents, rows: Tensor | None = None
    ) -> Prompt:
        """The formatted prompt, with the placeholders of one clip behind it where a motion is wanted. rows (R, Z):
        features of words."""
        repeated = self.config.prompt_style == "upstream_test"
        pieces = [*self._told(rows), *self._prompt(prompt, output == "text", repeated)]
        if output == "motion":
            pieces.append(self._clip(self.vocabulary.output_id, self.config.output_holders))
        clips = [part for part in prompt if isinstance(part, Clip)]
        text = " ".join(part for part in prompts.merged(prompt) if isinstance(part, str))
        ids = tuple(i for piece in pieces for i in piece.ids)
        return Prompt(ids, tuple(latents[id(clip)] for clip in clips), output, text, rows)

    def _told(self, rows: Tensor | None) -> list[_Piece]:
        """Places for features of words, before all else."""
        return [] if rows is None else [_fixed([self.vocabulary.eos_id] * len(rows))]

    def _prompt(self, parts: Sequence[Segment], in_words: bool, repeated: bool = False) -> list[_Piece]:
        """Pieces of a prompt and its separator, which is one blank shorter before a answer in words."""
        merged = prompts.merged(parts)
        text = merged.pop() if merged and isinstance(merged[-1], str) else ""
        separator = (BREAK if repeated else "") + (BREAK if in_words else prompts.SEPARATOR)
        kept = len(self.vocabulary.text_ids(separator))
        ids = self.vocabulary.text_ids(text + separator)
        return [*self._pieces(merged, self.vocabulary.input_id), _Piece(ids, kept)]

    def _target(self, parts: Sequence[Segment]) -> list[_Piece]:
        merged = prompts.merged(parts)
        if isinstance(merged[0], str):
            merged[0] = " " + merged[0]
        return [*self._pieces(merged, self.vocabulary.output_id), _Piece([self.vocabulary.eos_id], 1)]

    def _pieces(self, merged: Sequence[str | Clip], holder: int) -> list[_Piece]:
        """Texts and clips; between two clips with a gap there are masked placeholders."""
        given = holder == self.vocabulary.input_id
        count = self.config.input_holders if given else self.config.output_holders
        pieces: list[_Piece] = []
        previous: Clip | None = None
        for part in merged:
            if isinstance(part, str):
                pieces.append(_Piece(self.vocabulary.text_ids(part), 0))
                previous = None
                continue
            if previous is not None and _gap(previous, part):
                pieces.append(_fixed([self.vocabulary.mask_id] * count))
            pieces.append(self._clip(holder, count))
            previous = part
        return pieces

    def _clip(self, holder: int, count: int) -> _Piece:
        ids = [holder] * count
        if self.config.boundaries:
            ids = [self.vocabulary.start_id, *ids, self.vocabulary.end_id]
        return _fixed(ids)


def _fixed(ids: list[int]) -> _Piece:
    return _Piece(ids, len(ids))


def fit(pieces: Sequence[_Piece], limit: int | None) -> None:
    """Cut the longest texts until all ids are at most `limit`."""
    surplus = 0 if limit is None else sum(len(piece.ids) for piece in pieces) - limit
    while surplus > 0:
        longest = max(pieces, key=lambda piece: piece.spare)
        if longest.spare == 0:
            raise DataError(f"the clips of one example alone need {limit + surplus} tokens; raise lm.max_length")
        count = min(surplus, max(1, longest.spare // 2))
        longest.cut(count)
        surplus -= count


def _gap(before: Clip, after: Clip) -> bool:
    """Whether frames lie between two clips. Where the first one's length is unknown, a later start means a gap."""
    length = 1 if before.features is None else len(before.features)
    return after.start - before.start > length


def _whole(clip: Clip) -> int:
    """Frames up to the end of a clip, 0 where unknown."""
    return 0 if clip.features is None else clip.start + len(clip.features)
