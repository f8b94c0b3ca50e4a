"""The Lightning data module of every stage: feature windows for tokenizers, examples for language models, pairs of
motion and caption for evaluators.

Every item is made from (clip, seed) alone and the sampler hands out both, so batches depend neither on the number of
workers nor on an interruption: `train_dataloader().batch_sampler` can be put back to any batch of any epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mld.data.balance import kind_shares, kinds_of
from mld.data.clips import ClipSource, noted
from mld.data.config import DataConfig
from mld.data.cropping import coin_flip_crop, random_stretch, window_crop
from mld.data.instructions import InstructionSet
from mld.data.loading import Loader
from mld.data.mixture import Mixture
from mld.data.order import Balanced, ByShare, Order
from mld.data.sampler import BatchSampler, Item
from mld.data.sources.mixed import MixedSource
from mld.data.sources.opening import build_source
from mld.errors import ConfigError, DataError
from mld.example import Caption, CaptionedClip, EvaluatorBatch, Example, FeatureBatch
from mld.padding import padded

Kind = Literal["features", "examples", "pairs"]
Tokens = Tensor | Mapping[tuple[int, int], Tensor]


@runtime_checkable
class ByNumber(Protocol):
    """Tokens that are also known by the number of a clip: names of a million need not be in memory."""

    def at(self, index: int) -> Tokens: ...


class FeatureWindows(Dataset):
    """(name, raw features (T, D)): a random window, or with `window` none a coin-flip crop to whole units."""

    def __init__(self, source: ClipSource, cfg: DataConfig) -> None:
        least = cfg.window if cfg.window and cfg.drop_short else 1
        self.source, self.cfg = source, cfg
        self.indices = np.flatnonzero(source.lengths >= least)
        self.lengths = np.minimum(source.lengths[self.indices], cfg.window or cfg.max_frames)
        self.dropped = len(source) - len(self.indices)
        self.order = order_of(source, cfg, self.indices)
        for each in (part.source for part in source.parts) if isinstance(source, MixedSource) else [source]:
            if each.lengths.max() < least:
                raise DataError(
                    f"{each.name}: every clip is shorter than the window of {cfg.window} frames (longest:"
                    f" {each.lengths.max()}); lower data.window or set data.drop_short to false"
                )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, item: Item) -> tuple[str, Tensor]:
        index, seed = item
        rng = np.random.default_rng(seed)
        clip = self.source[int(self.indices[index])]
        return clip.name, cropped(clip.features, self.cfg, rng)

    def __getitems__(self, items: list[Item]) -> list[tuple[str, Tensor]]:
        """The same of a whole batch; a source may read the clips of it together (`features`)."""
        if not hasattr(self.source, "features"):
            return [self[item] for item in items]
        clips = self.source.features([int(self.indices[index]) for index, _ in items])
        return [
            (name, cropped(features, self.cfg, np.random.default_rng(seed)))
            for (name, features), (_, seed) in zip(clips, items, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Pair:
    """A motion (T, D), raw, one of its captions, and the label under which it matches others."""

    features: Tensor
    caption: Caption
    label: str


class CaptionedCrops(Dataset):
    """Pairs of a crop (as of `FeatureWindows`, but no clip is left out) and a random caption of the clip.

    The rest of a batch are the wrong answers to learn from. So batches are drawn at random: of clips of one length,
    many would be of one kind. `lengths` are all alike for that reason."""

    def __init__(self, source: ClipSource, cfg: DataConfig) -> None:
        self.source, self.cfg = source, cfg
        self.lengths = np.ones(len(source), dtype=np.int64)
        self.order = order_of(source, cfg)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: Item) -> Pair:
        index, seed = item
        rng = np.random.default_rng(seed)
        clip = self.source[index]
        if clip.history:  # the captions are of what follows
            clip = replace(clip, features=clip.features[clip.history :])
        features = cropped(clip.features, self.cfg, rng)
        return Pair(features, caption_of(clip, int(rng.integers(len(clip.captions)))), clip.label)


class InstructionExamples(Dataset):
    """Examples of the task mixture. tokens: by clip name, codes (L,), or (k, L) for k alternatives, or vectors (L, C),
    or the posteriors (2, S, C) of all stretches that can be drawn."""

    def __init__(self, source: ClipSource, cfg: DataConfig, tokens: Mapping[str, Tokens] | None) -> None:
        self.source, self.cfg, self.tokens = source, cfg, tokens
        self.instructions = InstructionSet.load(cfg.instructions)
        self.mixture = Mixture(self.instructions.subtasks, cfg.tasks, self.instructions.referring)
        if any(each.pairs for each in cfg.used()) and not self.instructions.tells_given(self.mixture.drawn):
            told = f"the instructions '{cfg.instructions}' do not tell what is given from what follows"
            raise ConfigError(f"data.pairs: {told}; set data.instructions=stream, or data.pairs=0")
        self.lengths = source.lengths
        self.order = order_of(source, cfg)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: Item) -> Example:
        index, seed = item
        rng = np.random.default_rng(seed)
        clip = self._with_tokens(index, self.source[index], rng)
        return self.instructions.draw(self.mixture.draw(rng, clip.text_share), clip, rng, self.cfg)

    def _with_tokens(self, index: int, clip: CaptionedClip, rng: np.random.Generator) -> CaptionedClip:
        if self.tokens is None:
            return clip
        if isinstance(self.tokens, ByNumber):
            tokens = self.tokens.at(index)
        elif clip.name in self.tokens:
            tokens = self.tokens[clip.name]
        else:
            raise DataError(f"{self.source.name}: no motion tokens for clip '{clip.name}'; extract the tokens again")
        alternatives = isinstance(tokens, Tensor) and tokens.ndim == 2 and not tokens.is_floating_point()
        return replace(clip, tokens=tokens[rng.integers(len(tokens))] if alternatives else tokens)


class WholeClips(Dataset):
    """The clips of a source as they are; evaluation needs no seed of its own."""

    def __init__(self, source: ClipSource) -> None:
        self.source, self.lengths, self.order = source, source.lengths, None

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: Item) -> CaptionedClip:
        return self.source[item[0]]


class MotionDataModule(LightningDataModule):
    """kind "features": FeatureBatch of windows (B, T, D); "examples": list[Example]; "pairs": EvaluatorBatch.
    Validation and test loaders give lists of whole CaptionedClips, in order. Use
    `Trainer(use_distributed_sampler=False)`: the sampler knows the ranks.

    tokens: motion tokens by clip name, as of `InstructionExamples`, for the examples of the train split.
    """

    def __init__(
        self,
        cfg: DataConfig,
        kind: Kind = "features",
        seed: int = 0,
        tokens: Mapping[str, Tokens] | None = None,
    ) -> None:
        super().__init__()
        self.cfg, self.kind, self.seed, self.tokens = cfg, kind, seed, tokens

    @cached_property
    def train_source(self) -> ClipSource:
        return build_source(self.cfg, "train")

    @cached_property
    def val_source(self) -> ClipSource:
        return build_source(self.cfg, "val")

    @cached_property
    def test_source(self) -> ClipSource:
        return build_source(self.cfg, "test")

    @cached_property
    def train_set(self) -> FeatureWindows | InstructionExamples | CaptionedCrops:
        if self.kind == "features":
            return FeatureWindows(self.train_source, self.cfg)
        if self.kind == "pairs":
            return CaptionedCrops(self.train_source, self.cfg)
        return InstructionExamples(self.train_source, self.cfg, self.tokens)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.train_set, True, COLLATE[self.kind])

    def val_dataloader(self) -> DataLoader:
        return self._loader(WholeClips(self.val_source), False, list)

    def test_dataloader(self) -> DataLoader:
        return self._loader(WholeClips(self.test_source), False, list)

    def report(self) -> str:
        """What training uses: the clips of the train and val split and what was left out, a line each."""
        lines = [self.train_source.report(), self.val_source.report()]
        if isinstance(self.train_set, FeatureWindows) and (dropped := self.train_set.dropped):
            lines[0] = noted(lines[0], f"{dropped:,} clips shorter than the window of {self.cfg.window} frames unused")
        if isinstance(self.train_set, InstructionExamples):
            lines += [str(problem) for problem in self.train_set.instructions.problems]
        return "\n".join(lines)

    def _loader(self, dataset: Dataset, train: bool, collate) -> DataLoader:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        sampler = BatchSampler(dataset.lengths, self.cfg.batch_size, self.seed, train, rank, world_size, dataset.order)
        workers = self.cfg.num_workers
        return Loader(
            dataset,
            batch_sampler=sampler,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )


def order_of(source: ClipSource, cfg: DataConfig, indices: np.ndarray | None = None) -> Order | None:
    """The order in which clips of a mixture are drawn, or those at `indices`, or of one source whose kinds are
    balanced; none for the clips of one source, all alike."""
    mixed = source.parts if isinstance(source, MixedSource) else ()
    parts = [(part.source, part.share, part.balance) for part in mixed] or [(source, 1.0, cfg.balance)]
    names, part_of = [part.name for part in mixed], np.zeros(len(source), dtype=np.int64)
    if isinstance(source, MixedSource):
        part_of = source.part_of
    used = slice(None) if indices is None else indices
    if any(by for _, _, by in parts):
        known = [kind_shares(kinds_of(each, by) if by else [""] * len(each)) for each, _, by in parts]
        first = np.cumsum([0, *(len(shares) for _, shares in known)])
        kind_of = np.concatenate([start + kinds for start, (kinds, _) in zip(first, known)])
        shares = np.concatenate([share * inner for (_, share, _), (_, inner) in zip(parts, known)])
        return Balanced(names, part_of[used], kind_of[used], shares)
    return ByShare(names, [part.share for part in mixed], part_of[used]) if mixed else None


def cropped(features: Tensor, cfg: DataConfig, rng: np.random.Generator) -> Tensor:
    """Features (T, D) of a random window, or with `cfg.window` none of a coin-flip crop to whole units, or of any
    stretch."""
    frames = len(features)
    if cfg.window:
        start, stop = window_crop(frames, cfg.window, rng)
    elif cfg.shorten_probability and rng.random() < cfg.shorten_probability:
        start, stop = random_stretch(frames, cfg.unit_length, rng)
    else:
        start, stop = coin_flip_crop(frames, cfg.unit_length, rng)
    return features[start:stop]


def caption_of(clip: CaptionedClip, number: int = 0) -> Caption:
    """Caption `number` of a clip, with its tokens where the data set has them."""
    return Caption(clip.captions[number], clip.caption_tokens[number] if clip.caption_tokens else ())


def collate_features(items: list[tuple[str, Tensor]]) -> FeatureBatch:
    """Names and features (T, D) -> a batch and its mask."""
    names, features = zip(*items)
    return FeatureBatch(*padded(features), names)


def collate_pairs(pairs: Sequence[Pair]) -> EvaluatorBatch:
    """Pairs of motion and caption as one batch."""
    captions, labels = tuple(pair.caption for pair in pairs), tuple(pair.label for pair in pairs)
    return EvaluatorBatch(*padded([pair.features for pair in pairs]), captions, labels)


COLLATE: dict[Kind, Callable] = {"features": collate_features, "examples": list, "pairs": collate_pairs}
