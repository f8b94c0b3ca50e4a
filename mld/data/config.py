"""Settings of a data source, of its batches and of the task mixture. Plain data: importing it is cheap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from mld.errors import ConfigError, nearest

COMPOSED = "composed"  # the name of what is composed of the clips of a whole mixture
SOURCES = ("procedural", "humanml3d", "babel_stream", "joints", "files", "shards", "json")
BALANCES = ("", "label", "group")
MIRRORED = ("joints", "files")
PROCEDURAL_ACTIONS = ("basic", "wide")
MIN_FRAMES = {("humanml3d", "humanml3d"): 40, ("humanml3d", "kit"): 24, ("joints", "humanml3d"): 20,
              ("babel_stream", "motion272"): 8, ("json", "motion276"): 40}  # fmt: skip


@dataclass
class SourceEntry:
    """One of several sources that are used together. What is null is as it stands outside, in `DataConfig`.

    weight: how often a clip of it is drawn in training, in proportion to the other entries; 0 leaves the entry out,
    of validation and test, too. name: stands before the names of its clips, as in `cmu/02_01` (empty: that of its
    folder). representation: that of the feature files of a "humanml3d" folder, which has to be the one outside."""

    source: str
    root: str = ""
    weight: float = 1.0
    name: str = ""
    representation: str | None = None
    splits: str | None = None
    fps: float | None = None
    min_frames: int | None = None
    mirror: bool | None = None
    pairs: float | None = None
    compose: float | None = None
    fact_captions: float | None = None
    balance: Literal["", "label", "group"] | None = None
    quality: list[str] | None = None
    subsets: list[str] | None = None
    text_keys: list[str] | None = None
    procedural_size: int | None = None
    procedural_seed: int | None = None
    procedural_actions: Literal["basic", "wide"] | None = None
    procedural_often: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"source '{self.source}' is unknown; {nearest(self.source, SOURCES)}")
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight is {self.weight}, expected a number from 0 on")
        if "/" in self.name:
            raise ValueError(f"name is '{self.name}', but a '/' is what ends it in the names of clips")

    @property
    def title(self) -> str:
        """The name, or what stands in for one."""
        return self.name or (Path(self.root).expanduser().resolve().name if self.root else self.source)

    def within(self, cfg: DataConfig) -> DataConfig:
        """The settings of this source alone: its own over those of `cfg`. Only a source that can be mirrored is."""
        own = {key: value for key, value in asdict(self).items() if key not in ("weight", "name") and value is not None}
        mirror = self.mirror if self.mirror is not None else cfg.mirror and self.source in MIRRORED
        compose = self.compose or 0.0  # that of the mixture joins clips of all its sources
        facts = cfg.fact_captions if self.source != "procedural" else 0.0  # made-up clips know what they show
        own = {"fact_captions": facts, **own}
        return replace(cfg, **{**own, "mirror": mirror, "compose": compose, "sources": []})


@dataclass
class DataConfig:
    """Where clips come from and how they are served. Lengths are in frames of features.

    sources: several sources in one mixture, instead of `source` and `root` (docs/data.md); the other keys below hold
    for each of them, unless its entry has its own.
    source: "procedural" (made up, needs no files), "humanml3d" (HumanML3D or KIT folder), "babel_stream" (motions
    and what follows, `train_stream/seq_<n>.npy`), "joints" (joints and captions, as `clips.jsonl` and `trials.npz`),
    "files" (BVH, ASF/AMC, SMPL npz or glTF files with captions), "json" (a JSON list of clips and their feature files,
    as ViMoGen-228K; root: the list, or its folder; docs/vimogen.md) or "shards" (what `prepare.data shards` wrote of
    any of these; opens at once, however many clips it holds; docs/shards.md). root: the dataset folder. splits: folder
    of the split files below `root`, empty for the layout's usual place. fps: frame rate of the files, none for that of
    the representation, or the one that motion files name ("joints": of the skeleton); clips are resampled to that of
    the representation.
    min_frames, max_frames: inclusive length gates; none for the layout's usual minimum ("shards": for all that is
    there). A "joints" clip that is too
    long is cut to max_frames, a HumanML3D one is dropped as in the published protocol. unit_length: frames per token.
    mirror: add mirrored twins to the train split ("joints" and "files" only; HumanML3D folders have theirs). quality:
    the grades kept of these two. window: training window of feature batches, none for whole clips.
    shorten_probability: share of whole clips that are cut to a stretch of random length, for tokenizers of whole clips
    that have to know pieces as well. drop_short: leave out clips shorter than the window (as published); otherwise they
    are padded and masked.
    pairs: share of the clips of the train split that begin with another motion, which is given: their captions are of
    what follows (instructions `stream`). pair_frames: fewest and most frames of it. pair_seed: of which motions.
    compose: share of the clips of the train split that are two or three clips joined, whose captions say the order;
    of a mixture clips of any of its sources, in an entry clips of that source. compose_seed: of which clips.
    fact_captions: how often a caption of the train split is one of measured facts, beside those of the clip. fact_seed:
    of their wordings. fact_cache: folder of what was measured, "" for the user's cache.
    balance: "label" or "group" lets each of these count by the square root of how many clips it has; "" counts clips.
    tasks: weights by group ("Text-to-Motion") or sub-task ("Text-to-Motion/caption"); empty for all alike.
    instructions: `instruct`, `pretrain`, `tasks`, `stream`, `stream_timed` (which says lengths in words, too), `flow`
    (captions and reference motions as they are) or the path of a template file. quote_probability: share of captions
    in double quotes. token_drop_probability: share of items that lose a token at one end. compat_seconds: write whole
    seconds, rounded down, as the published templates do.

    procedural_size, procedural_seed: how many made-up clips the train split has, and which. procedural_actions:
    "basic", some thirty actions (the same clips for ever), or "wide", many more, more varied and told in more ways.
    procedural_often: of "wide", how many times as often as usual the train split has an action (`wave: 3`) or a form
    ("one", "then", "three" or "while").

    Of a "json" list: subsets: those that are used, none for all. text_keys: whose texts are captions; "a|b": b where an
    entry has no a. text_shares: by subset, how often words and not a reference motion condition an answer, for captions
    worth less than the mixture takes them for. supervised: by subset, the roles of the columns that a loss counts where
    words do, for motions whose other columns are not to be trusted. path_rules: both as published, by words in the path
    of a motion (compat).

    Of the published training sets (compat; docs/published.md): legacy_token_lengths: lengths, heads and masks of
    instruction templates count tokens where the published tests count frames; a model with that setting has it, too.
    timed_min_frames: shortest stretch of a timed caption of a HumanML3D folder, none for min_frames. cut: "unit", clips
    and their parts begin and end at multiples of unit_length; "frame", anywhere (a third is cut to such a length, from
    any frame on), for models of whole clips. requote: captions that hold a double quote are put in quotes as well.
    """

    source: str = "procedural"
    root: str = ""
    representation: str = "humanml3d"
    splits: str = ""
    fps: float | None = None
    min_frames: int | None = None
    max_frames: int = 199
    unit_length: int = 4
    mirror: bool = False
    quality: list[str] = field(default_factory=lambda: ["good", "fair"])
    window: int | None = 64
    shorten_probability: float = 0.0
    drop_short: bool = False
    pairs: float = 0.0
    pair_frames: list[int] = field(default_factory=lambda: [20, 120])
    pair_seed: int = 0
    compose: float = 0.0
    compose_seed: int = 0
    fact_captions: float = 0.0
    fact_seed: int = 0
    fact_cache: str = ""
    balance: Literal["", "label", "group"] = ""
    batch_size: int = 16
    num_workers: int = 0
    tasks: dict[str, float] = field(default_factory=dict)
    instructions: str = "instruct"
    quote_probability: float = 0.5
    token_drop_probability: float = 1 / 3
    compat_seconds: bool = False
    legacy_token_lengths: bool = False
    timed_min_frames: int | None = None
    cut: Literal["unit", "frame"] = "unit"
    requote: bool = True
    procedural_size: int = 512
    procedural_seed: int = 0
    procedural_actions: Literal["basic", "wide"] = "basic"
    procedural_often: dict[str, float] = field(default_factory=dict)
    subsets: list[str] = field(default_factory=list)
    text_keys: list[str] = field(default_factory=lambda: ["motion_text_annot", "video_text_annot"])
    text_shares: dict[str, float] = field(default_factory=dict)
    supervised: dict[str, list[str]] = field(default_factory=dict)
    path_rules: bool = False
    sources: list[SourceEntry] = field(default_factory=list)

    def entries(self) -> Iterator[tuple[str, SourceEntry, DataConfig]]:
        """The key, the entry and the settings of each source of a mixture that is used."""
        for number, entry in enumerate(self.sources):
            if entry.weight > 0:
                yield f"data.sources[{number}]", entry, entry.within(self)

    def used(self) -> list[DataConfig]:
        """The settings of each source: of a mixture those that have a weight, else its own."""
        return [cfg for _, _, cfg in self.entries()] if self.sources else [self]

    def shortened(self, clips: int) -> DataConfig:
        """With at most so many made-up clips."""
        entries = [
            replace(entry, procedural_size=min(entry.procedural_size, clips)) if entry.procedural_size else entry
            for entry in self.sources
        ]
        return replace(self, procedural_size=min(self.procedural_size, clips), sources=entries)

    def shortest(self) -> int:
        """The minimum length in frames: `min_frames`, or the usual one of the layout and representation."""
        if self.sources:
            return min(cfg.shortest() for cfg in self.used())
        if self.min_frames is not None:
            return self.min_frames
        usual = 1 if self.source == "shards" else 20  # a set has passed the gates of those it was written from
        return MIN_FRAMES.get((self.source, self.representation), usual)

    def check(self) -> None:
        """`ConfigError` for values no source can work with."""
        sizes = (("unit_length", 1), ("batch_size", 1), ("num_workers", 0), ("window", 1), ("timed_min_frames", 1))
        for name, least in sizes:
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise ConfigError(f"data.{name}: {getattr(self, name)} must be at least {least}")
        for name in ("quote_probability", "token_drop_probability", "shorten_probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"data.{name}: {getattr(self, name)} must lie between 0 and 1")
        for subset, share in self.text_shares.items():
            if not 0 <= share <= 1:
                raise ConfigError(f"data.text_shares: that of '{subset}' is {share}, a share is from 0 to 1")
        if self.supervised:
            from mld.motion.representations.base import ROLES

            for subset, roles in self.supervised.items():
                if wrong := [role for role in roles if role not in ROLES]:
                    told = f"'{subset}' names the role '{wrong[0]}'; {nearest(wrong[0], ROLES)}"
                    raise ConfigError(f"data.supervised: {told}")
        if not self.text_keys:
            raise ConfigError("data.text_keys: names no text; give at least one, as [motion_text_annot]")
        if self.path_rules and (self.text_shares or self.supervised):
            raise ConfigError("data.path_rules: the paths say what data.text_shares and data.supervised would; set one")
        if not 0 <= self.pairs < 1:
            raise ConfigError(f"data.pairs: {self.pairs} is a share of clips, from 0 to less than 1")
        if not 0 <= self.compose < 1:
            raise ConfigError(f"data.compose: {self.compose} is a share of clips, from 0 to less than 1")
        if not 0 <= self.fact_captions <= 1:
            raise ConfigError(f"data.fact_captions: {self.fact_captions} is a share of captions, from 0 to 1")
        if self.balance not in BALANCES:
            raise ConfigError(f"data.balance: '{self.balance}' is none of 'label', 'group' and '' (all clips alike)")
        if min(self.pair_seed, self.compose_seed, self.fact_seed) < 0:
            raise ConfigError("data.pair_seed, data.compose_seed, data.fact_seed: a seed must be at least 0")
        if len(self.pair_frames) != 2 or not self.unit_length <= self.pair_frames[0] <= self.pair_frames[1]:
            told = f"two lengths in frames, from a token ({self.unit_length}) on, the shorter first"
            raise ConfigError(f"data.pair_frames: {self.pair_frames} are not {told}")
        if self.pairs and self.pair_frames[0] >= self.max_frames:
            raise ConfigError(f"data.pair_frames: {self.pair_frames[0]} leave nothing of max_frames {self.max_frames}")
        if self.legacy_token_lengths and self.cut == "frame":
            raise ConfigError("data.legacy_token_lengths: counts tokens, so clips are cut at them; set data.cut=unit")
        if self.sources:
            self._check_sources()
        else:
            self._check_source()

    def _check_source(self) -> None:
        if self.compose and self.source == "babel_stream":
            raise ConfigError("data.compose: clips of 'babel_stream' follow on others already; set it to 0")
        if self.source not in SOURCES:
            raise ConfigError(f"data.source: '{self.source}' is none of {', '.join(SOURCES)}")
        if self.source != "procedural" and not self.root:
            raise ConfigError(f"data.root: source '{self.source}' needs the path of its dataset folder")
        if self.mirror and self.source not in MIRRORED:
            raise ConfigError("data.mirror: only source 'joints' or 'files' can be mirrored; set it to false")
        if not 1 <= self.shortest() <= self.max_frames:
            raise ConfigError(f"data.min_frames: {self.shortest()} must lie between 1 and max_frames {self.max_frames}")
        if self.procedural_size < 1:
            raise ConfigError(f"data.procedural_size: {self.procedural_size} must be at least 1")
        if self.procedural_seed < 0:
            raise ConfigError(f"data.procedural_seed: {self.procedural_seed} must be at least 0")
        if self.procedural_actions not in PROCEDURAL_ACTIONS:
            told = nearest(self.procedural_actions, PROCEDURAL_ACTIONS)
            raise ConfigError(f"data.procedural_actions: '{self.procedural_actions}' is no set of actions; {told}")
        if self.procedural_often:
            from mld.data.sources.procedural.wide import check_often

            if self.procedural_actions != "wide":
                raise ConfigError("data.procedural_often: the basic set never changes; take procedural_actions 'wide'")
            check_often(self.procedural_often, "data.procedural_often")

    def _check_sources(self) -> None:
        if self.root:
            advice = "write it into one of them, or set data.sources=[]"
            raise ConfigError(f"data.root: '{self.root}' is not read where there are data.sources; {advice}")
        names: dict[str, str] = {COMPOSED: "what data.compose makes"} if self.compose else {}
        for number, entry in enumerate(self.sources):
            key = f"data.sources[{number}]"
            if entry.title in names:
                raise ConfigError(f"{key}.name: {names[entry.title]} is called '{entry.title}', too; name one of them")
            names[entry.title] = key
            if entry.representation not in (None, self.representation):
                raise ConfigError(
                    f"{key}.representation: '{entry.representation}' is not the '{self.representation}' of the mixture;"
                    " leave it out where clips are encoded ('joints'), encode a folder of features anew"
                )
            try:
                entry.within(self).check()
            except ConfigError as error:
                raise ConfigError(str(error).replace("data.", f"{key}.", 1)) from error
        if not sum(entry.weight for entry in self.sources) < float("inf"):
            raise ConfigError("data.sources: the weights are too large to be added; only their proportions count")
        if not any(entry.weight > 0 for entry in self.sources):
            raise ConfigError("data.sources: all weights are 0; give at least one source a positive weight")
