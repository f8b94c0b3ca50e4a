"""Embeddings of an evaluation: in batches of similar length, shared among processes, the references kept on disk.

Captions are embedded once per split and so is every crop of a real motion: replications often draw one that an earlier
one drew. Files are keyed by all that an embedding depends on; one that cannot be read is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mld.evaluation.clips import ClipSet
from mld.evaluation.draws import GROUP, Item, by_length
from mld.evaluation.evaluators import Evaluator
from mld.example import Caption
from mld.files import atomically, write_tensors
from mld.metrics import ranks
from mld.metrics.mode import Mode
from mld.motion.representations.registry import get_representation
from mld.padding import padded
from mld.reading import read_tensors

# What an empty answer is read as, a word that no vocabulary knows: a model that says nothing is wrong.
EMPTY = Caption("unk", ("unk/OTHER",))
STANDS_FOR_NOTHING = "empty captions, read as an unknown word"


class Embedder:
    """clips: the split. cache: folder for reference embeddings, None keeps them in memory."""

    def __init__(
        self, evaluator: Evaluator, clips: ClipSet, mode: Mode = "strict", cache: Path | None = None
    ) -> None:
        self.evaluator, self.clips, self.mode = evaluator, clips, mode
        self.network, self.label, self.metric = evaluator.network, evaluator.label, evaluator.network.metric
        self._cache = None if cache is None else cache / evaluator.fingerprint
        self._motions: dict[str, Tensor] = {}
        self._crops: dict[tuple[int, int, int], Tensor] = {}
        self._texts: dict[Caption, int] = {}
        self._text_rows = torch.zeros(0)

    def motions(self, features: Sequence[Tensor]) -> Tensor:
        """Embeddings (N, E) float32 of raw features (T, D) each, in batches of neighbours; NaN where a motion is not
        finite. Too long a motion is cut, too short a one stands still at its end."""
        rows = [self._fitted(motion) for motion in features]
        found = torch.full((len(rows), self.network.embedding_dim), torch.nan)
        whole = [i for i, row in enumerate(rows) if row.isfinite().all()]
        for start in range(0, len(whole), GROUP):
            places = whole[start : start + GROUP]
            found[places] = self._embed([rows[i] for i in places])
        return found

    def answers(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, E) of captions that a model wrote; "upstream" reads as many words of them as published."""
        said = [Caption(text) if text.strip() else EMPTY for text in texts]
        different = list(dict.fromkeys(said))
        most = getattr(self.network, "predicted_words", None) if self.mode == "upstream" else None
        limit = {} if most is None else {"max_words": most}
        rows = self._embed_texts(different, **limit) if said else torch.zeros(0, self.network.embedding_dim)
        place = {caption: i for i, caption in enumerate(different)}
        return rows[[place[caption] for caption in said]]

    def texts(self, captions: Sequence[Caption]) -> Tensor:
        """Embeddings (N, E) of captions of the split; all of them are embedded when the first is asked for."""
        if not self._texts:
            known = self.clips.captions()
            self._texts = {caption: i for i, caption in enumerate(known)}
            key = ("text", self.clips.captions_hash)
            self._text_rows = self._kept(key, len(known), lambda: self._all_texts(known))
        return self._text_rows[[self._texts[caption] for caption in captions]]

    def reference(self, items: Sequence[Item], key: str) -> Tensor:
        """Embeddings (N, E) of the items' own motions. key: what their crops depend on."""
        if key not in self._motions:
            parts = ("motion", self.clips.data_hash, self.mode, key)
            rows = self._kept(parts, len(items), lambda: self._all_motions(items))
            if self.mode == "strict":
                self._crops.update(zip((item.crop for item in items), rows))
            self._motions[key] = rows
        return self._motions[key]

    def sentences(self, captions: Sequence[Caption]) -> Tensor | None:
        """Sentence embeddings (N, S) by which captions count as alike; None where the evaluator has none."""
        source = getattr(self.network, "sentences", None)
        if source is None:
            return None
        different = list(dict.fromkeys(caption.text for caption in captions))
        rows = dict(zip(different, source.encode(different, self._device())))
        return torch.stack([rows[caption.text].sentence for caption in captions])

    def mean_pose(self, items: Sequence[Item]) -> Tensor:
        """Embeddings (N, E) of motions that stand still in the mean pose of the items, as long as each of them."""
        still = mean_pose([item.clip.features for item in items], self.network.representation)
        lengths = sorted({item.clip.num_frames for item in items})
        rows = dict(zip(lengths, self.motions([still.expand(length, -1) for length in lengths])))
        return torch.stack([rows[item.clip.num_frames] for item in items])

    def _all_motions(self, items: Sequence[Item]) -> Tensor:
        """Batches of `upstream` embeddings are always the same ones, as these depend on their batch."""
        order = by_length(items)
        if self.mode == "upstream":
            found = self._shared_motions(items, order, GROUP)
        else:
            new = [i for i in order if items[i].crop not in self._crops]
            self._crops.update({items[i].crop: row for i, row in self._shared_motions(items, new, 1).items()})
            found = {i: self._crops[items[i].crop] for i in order}
        return torch.stack([found[i] for i in range(len(items))])

    def _shared_motions(self, items: Sequence[Item], places: Sequence[int], unit: int) -> dict[int, Tensor]:
        mine = ranks.share(places, unit)
        return ranks.merged(dict(zip(mine, self.motions([items[i].clip.features for i in mine]))))

    def _all_texts(self, captions: Sequence[Caption]) -> Tensor:
        order = sorted(range(len(captions)), key=lambda i: (len(captions[i].text), i))
        mine = ranks.share(order, GROUP)
        rows = self._embed_texts([captions[i] for i in mine]) if mine else []
        found = ranks.merged(dict(zip(mine, rows)))
        return torch.stack([found[i] for i in range(len(captions))])

    @torch.no_grad()
    def _embed(self, rows: Sequence[Tensor]) -> Tensor:
        return self.network.embed_motion(*padded(rows, self._device()), mode=self.mode).float().cpu()

    @torch.no_grad()
    def _embed_texts(self, captions: Sequence[Caption], **limit: int) -> Tensor:
        batches = [captions[start : start + GROUP] for start in range(0, len(captions), GROUP)]
        return torch.cat([self.network.embed_text(batch, **limit).float().cpu() for batch in batches])

    def _fitted(self, motion: Tensor) -> Tensor:
        least, most = self.network.min_frames, self.network.max_frames
        motion = motion[:most].float()
        if 0 < len(motion) < least:
            motion = torch.cat((motion, motion[-1:].expand(least - len(motion), -1)))
        return motion if len(motion) else torch.full((least, motion.shape[1]), torch.nan)

    def _device(self) -> torch.device:
        return self.network.device

    def _kept(self, parts: Sequence[str], count: int, make: Callable[[], Tensor]) -> Tensor:
        """Rows from the cache, or made and put there. All processes look before the first one writes."""
        if self._cache is None:
            return make()
        file = self._cache / f"{parts[0]}-{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:16]}.safetensors"
        rows = _read(file, (count, self.network.embedding_dim))
        complete = ranks.merged({ranks.rank(): rows is not None})
        if all(complete.values()):
            return rows
        rows = make()
        if ranks.is_first():
            _write(file, rows)
        return rows


def mean_pose(features: Sequence[Tensor], representation: str) -> Tensor:
    """One row of features (D,): the mean over all frames, at rest with both feet on the ground."""
    row = torch.cat(list(features)).double().mean(0).float()
    return get_representation(representation).still(row)


def _read(file: Path, shape: tuple[int, int]) -> Tensor | None:
    try:
        rows = read_tensors(file)["rows"]
    except (OSError, KeyError):
        return None
    return rows if rows.shape == shape else None


def _write(file: Path, rows: Tensor) -> None:
    with atomically(file) as new:
        write_tensors(new, {"rows": rows.contiguous()})
