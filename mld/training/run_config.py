"""The settings of one training run, and files that list several runs as stages.

A run is one stage: it trains a tokenizer, a generator on top of an earlier model folder (`init_from`), or an
evaluator. Network sections are polymorphic: `tokenizer: {family: vqvae, ...}` is checked against the config dataclass
of that family. A file with `stages: [a.yaml, b.yaml]` runs them in order; its other keys are laid over every stage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from mld.config import Tree, build_tree, read_overrides, read_tree, to_plain
from mld.data.config import DataConfig
from mld.errors import ConfigError, nearest

DEBUG_PREFIX, DEBUG_STEPS, DEBUG_CLIPS = "debug/", 20, 128
COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
LOGGERS = ("csv", "tensorboard", "wandb")
MOVED = ("devices", "precision", "accelerator")  # from `training` to `training.parallel`
STAGE_SECTIONS = ("tokenizer", "model", "normalizer", "losses")


@dataclass
class NetworkSection:
    """The architecture of a network: its family and an instance of that family's config dataclass."""

    kind: ClassVar[str]
    family: str
    config: Any

    @classmethod
    def from_config(cls, values: dict[str, Any], build: Callable[[type, dict], Any]) -> NetworkSection:
        from mld.models.registry import find

        if "family" not in values:
            raise ValueError("key 'family' is missing (text)")
        try:
            network = find(cls.kind, values["family"])
        except ConfigError as error:  # `find` knows the families, not the file
            raise ValueError(str(error)) from error
        return cls(values["family"], build(network.Config, {k: v for k, v in values.items() if k != "family"}))

    def to_config(self) -> dict[str, Any]:
        return {"family": self.family, **to_plain(self.config)}


class TokenizerSection(NetworkSection):
    kind = "tokenizer"


class ModelSection(NetworkSection):
    kind = "generator"


class EvaluatorSection(NetworkSection):
    kind = "evaluator"


@dataclass
class NormalizerConfig:
    """Statistics of a new tokenizer or evaluator: those of `folder` (mean.npy, std.npy; of a `kind` that `Normalizer`
    knows), or measured on the train clips.

    feature_bias: how many times smaller the measured std of the root and foot-contact blocks is made, which gives
    these few channels more weight in the loss. None: what is published for the representation, 25 for the 263 columns
    (MotionGPT spec 1.6), 1 for others.
    per_column: a std of its own for each column, as TMR has it, and no bias; otherwise one per block of columns.
    spread: factors on the std of named blocks; a block whose std is made large counts little. The 6D rotations of the
    263 columns depend on the heading since the clip began and are not needed to decode: a small tokenizer that has to
    rebuild them learns to turn late or never, so it is better trained with `joint_rotations: 10`."""

    folder: str | None = None
    kind: str = "fitted"
    feature_bias: float | None = None
    per_column: bool = False
    spread: dict[str, float] = field(default_factory=dict)


@dataclass
class OptimizerConfig:
    """name: a class of `torch.optim`, or "Muon", which takes AdamW for all that is no matrix (mld/training/muon.py);
    params: its keyword arguments. groups: those of single parameter groups of the network, over `params`; which groups
    there are is up to the network (`parameter_groups`)."""

    name: str = "AdamW"
    params: dict[str, Any] = field(default_factory=lambda: {"lr": 2e-4, "betas": [0.9, 0.99], "weight_decay": 0.0})
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        import torch

        known = {"Muon", *(name for name in dir(torch.optim) if name[0].isupper() and name != "Optimizer")}
        if self.name not in known:
            raise ValueError(f"no optimizer '{self.name}' in torch.optim; {nearest(self.name, sorted(known))}")


@dataclass
class SchedulerConfig:
    """Learning rate over the steps of a run: linear warm-up, then constant, or falling to `final_ratio` of the rate, or
    multiplied with `gamma` at each of `milestones` ("steps"), which are counted from the end of the warm-up.

    fall_steps: how long the fall takes, which may be longer than the run (none: until its end). rises_again: a cosine
    that is shorter than the run goes on beyond its end, as published for MotionMillion. warmup: step s of W has
    (s + 1) / (W + 1) of the rate; as published for the AR model of MotionStreamer s / W ("from_zero": the first step
    changes nothing); as for its auto-encoder (s + 2) / (W + 2), and it stays at what the last step had ("kept")."""

    name: Literal["constant", "cosine", "linear", "steps"] = "cosine"
    warmup: Literal["usual", "from_zero", "kept"] = "usual"
    warmup_steps: int = 0
    final_ratio: float = 0.01
    fall_steps: int | None = None
    rises_again: bool = False
    milestones: list[int] = field(default_factory=list)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if (self.name == "steps") != bool(self.milestones):
            given = f"name is '{self.name}' with milestones {self.milestones}"
            raise ValueError(f"{given}; 'steps' has milestones, the others have none")
        if any(one < 1 for one in self.milestones) or sorted(set(self.milestones)) != self.milestones:
            raise ValueError(f"milestones are {self.milestones}, expected rising numbers of steps")
        if self.gamma <= 0:
            raise ValueError(f"gamma is {self.gamma}, expected more than 0")
        if self.fall_steps is not None and self.fall_steps < 1:
            raise ValueError(f"fall_steps is {self.fall_steps}, expected at least 1 or null")
        if self.rises_again and (self.name != "cosine" or self.fall_steps is None):
            raise ValueError("rises_again is for a cosine with fall_steps")


@dataclass
class ParallelConfig:
    """Where a run trains. devices: processes on each of `num_nodes` machines. strategy: auto (one device, or ddp), ddp,
    fsdp2 (parameters, gradients and optimizer in shards), or any that Lightning knows by name. precision: "mixed"
    computes in half precision, bf16-true keeps the weights in it, too. checkpoint: states as one file, gathered in one
    process (whole), or of fsdp2 as a folder into which each process writes its shard (sharded; auto: from a billion
    trained parameters on). device_memory: GB of a device, for what a dry run says (none: of the GPU that is there)."""

    devices: int = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true"] = "32-true"
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    checkpoint: Literal["auto", "whole", "sharded"] = "auto"
    device_memory: float | None = None

    def __post_init__(self) -> None:
        if self.device_memory is not None and not self.device_memory > 0:
            raise ValueError(f"device_memory is {self.device_memory}, expected GB above 0, or null")
        for name in ("devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")


@dataclass
class WandbConfig:
    """Weights & Biases, where `loggers` have it. entity: the team (none: the user's own). offline: write into the run
    folder only, to be sent by `wandb sync` later."""

    project: str = "mld"
    entity: str | None = None
    offline: bool = False


@dataclass
class TrainingConfig:
    """How long and how a run trains. Everything is counted in optimizer steps.

    accumulate: batches per step. gradient_clip: largest norm of the gradient. ema: decay of the averaged weights that
    are validated and exported (none: the trained weights themselves). keep_checkpoints: how many of the newest full
    states are kept besides `last` and `best`. max_validation_clips: at most so many clips, evenly spread. samples: how
    many validation clips are pictured; sample_texts: what a generator is asked then (none: captions of those clips).
    num_threads: CPU threads of torch (none: torch decides). cache_latents: a frozen tokenizer whose tokens are latents
    encodes the train clips once, into a folder below `output`/cache, as one of codes always does; otherwise clips are
    encoded anew in every step. tokens: a folder of stores that prepare.tokens made; one has to be of this tokenizer and
    these clips (none: `output`/cache, where what is missing is made).
    compile: torch.compile of the network's units: false, true, or the name of a mode of it. activation_checkpointing:
    units compute their forward pass again for the backward pass, instead of keeping what is in it.
    peak_tflops: what a device can do at most, for the share of it that is used (none: as known of GPUs by name).
    loggers: where numbers and samples go, of csv (metrics.csv), tensorboard and wandb.

    `devices`, `precision` and `accelerator` may be given here as well as in `parallel`, but not in both places."""

    max_steps: int = 1000
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    accumulate: int = 1
    gradient_clip: float | None = None
    ema: float | None = None
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    compile: bool | str = False
    activation_checkpointing: bool = False
    peak_tflops: float | None = None
    num_threads: int | None = None
    log_every_steps: int = 10
    validate_every_steps: int = 500
    checkpoint_every_steps: int = 500
    keep_checkpoints: int = 1
    max_validation_clips: int = 256
    samples: int = 4
    sample_texts: list[str] = field(default_factory=list)
    cache_latents: bool = True
    tokens: str | None = None
    loggers: list[str] = field(default_factory=lambda: ["csv", "tensorboard"])
    wandb: WandbConfig = field(default_factory=WandbConfig)

    def __post_init__(self) -> None:
        if isinstance(self.compile, str) and self.compile not in COMPILE_MODES:
            advice = nearest(self.compile, COMPILE_MODES)
            raise ValueError(f"compile is '{self.compile}', no mode of torch.compile; {advice}")
        if self.optimizer.name == "Muon" and self.parallel.strategy == "fsdp2":
            raise ValueError("optimizer: Muon needs whole matrices, fsdp2 has shards of them; take AdamW, or ddp")
        if self.peak_tflops is not None and not self.peak_tflops > 0:
            raise ValueError(f"peak_tflops is {self.peak_tflops}, expected more than 0, or null")
        for name in self.loggers:
            if name not in LOGGERS:
                raise ValueError(f"loggers has '{name}'; {nearest(name, LOGGERS)}")
        at_least = {"max_steps": 1, "accumulate": 1, "log_every_steps": 1, "validate_every_steps": 1}
        at_least |= {"checkpoint_every_steps": 1, "keep_checkpoints": 0, "max_validation_clips": 1, "samples": 0}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")


@dataclass
class TextEncoderConfig:
    """The frozen text encoder of a generator that reads text features. source: a folder, a hub id or "minilm". family:
    one of the registry, or auto. dtype: that it computes in. cached_tokens: how token features are kept in
    `text_cache`, "none" for families that read sentence features alone. width: of token features (none: what the
    encoder says); with it and a family sizes are known before the encoder is there. most_gb: features of all captions
    are computed before training where they take no more; otherwise those of each batch are, when it comes, but for what
    prepare.text has put into `text_cache`."""

    source: str
    family: str = "auto"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    cached_tokens: Literal["float32", "float16", "none"] = "float32"
    width: int | None = None
    most_gb: float = 50.0

    def __post_init__(self) -> None:
        if self.most_gb < 0:
            raise ValueError(f"most_gb is {self.most_gb}, expected 0 or more")


@dataclass
class RunConfig:
    """One training run, written to `output`/`name`.

    tokenizer: the architecture trained by stage `tokenizer`, or of one that needs no training (`frames`) under a
    generator without `init_from`. model: that of a new generator (stages `pretrain`, `instruct`) over the tokenizer in
    `init_from`; when `init_from` is a generator, training continues with it and `model` is not read. text_encoder: what
    a family that reads text features is given. evaluator: the architecture trained by stage `evaluator`; with
    `init_from` it says how to go on with the evaluator there. text_cache: folder for what is computed once of each
    caption (none: memory). losses: weights by loss name, over the defaults of the network."""

    name: str
    stage: Literal["tokenizer", "pretrain", "instruct", "evaluator"]
    output: str = "runs"
    seed: int = 1234
    init_from: str | None = None
    debug: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    normalizer: NormalizerConfig = field(default_factory=NormalizerConfig)
    tokenizer: TokenizerSection | None = None
    model: ModelSection | None = None
    evaluator: EvaluatorSection | None = None
    text_encoder: TextEncoderConfig | None = None
    text_cache: str | None = None
    losses: dict[str, float] = field(default_factory=dict)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"seed is {self.seed}, expected a whole number from 0 to 2^32 - 1")
        self.data.check()

    @property
    def folder(self) -> Path:
        """The run folder."""
        return Path(self.output) / self.name

    def shortened(self) -> RunConfig:
        """The same run as a trial (`debug=true`): a few steps and clips, under a name of its own."""
        steps = min(self.training.max_steps, DEBUG_STEPS)
        every = {"validate_every_steps": steps, "checkpoint_every_steps": steps, "max_validation_clips": DEBUG_CLIPS}
        training = replace(self.training, max_steps=steps, **every)
        data = self.data.shortened(DEBUG_CLIPS)
        return replace(self, name=DEBUG_PREFIX + self.name, training=training, data=data)


def load_runs(path: str | Path, overrides: Sequence[str] = ()) -> list[RunConfig]:
    """The runs of a config file: one, or one per entry of its `stages:` list, with the overrides laid over each.

    A later stage without `init_from` starts from the model folder of the one before it. An override of a network
    section, of its normalizer or its losses is for the stages whose file has that section."""
    tree, command_line = moved(read_tree(path)), moved(read_overrides(overrides))
    if "stages" not in tree.values:
        return [_finished(_build(command_line.over(tree)))]
    stages = tree.values.pop("stages")
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, str) for stage in stages):
        raise ConfigError(f"{path}: 'stages' is {stages!r}, expected a list of config files")
    if "name" in command_line.values:
        raise ConfigError("command line: 'name' would be the same for every stage; set 'output' instead")
    parts = [tree.over(moved(read_tree(Path(path).parent / stage))) for stage in stages]
    runs: list[RunConfig] = []
    models: dict[str, str] = {}  # where a full run puts its model -> where this one does
    for part in parts:
        if runs:
            part.values.setdefault("init_from", str(runs[-1].folder / "model"))
        run = _build(_for_stage(command_line, part, parts).over(part))
        run = _finished(replace(run, init_from=models.get(run.init_from, run.init_from)))
        models[str(Path(run.output) / run.name.removeprefix(DEBUG_PREFIX) / "model")] = str(run.folder / "model")
        runs.append(run)
    return runs


def load_run(path: str | Path, overrides: Sequence[str] = ()) -> RunConfig:
    """The run of a file that is just as it was written into a run folder, with overrides."""
    tree = moved(read_tree(path))
    model = tree.values.get("model")
    if isinstance(model, dict):  # before version 0.2 it had room for the tokenizer of a model folder
        tree.values["model"] = {key: value for key, value in model.items() if key != "tokenizer"}
    return build_tree(moved(read_overrides(overrides)).over(tree), RunConfig)


def moved(tree: Tree) -> Tree:
    """Keys of `training` that belong to `training.parallel` put there; `ConfigError` for one given in both places."""
    training = tree.values.get("training")
    if not isinstance(training, dict) or not (found := [name for name in MOVED if name in training]):
        return tree
    parallel = training.get("parallel", {})
    if not isinstance(parallel, dict):
        return tree  # its type is complained of later
    origins = dict(tree.origins)
    for name in found:
        old, new = f"training.{name}", f"training.parallel.{name}"
        if name in parallel:
            advice = f"given as '{new}', too ({tree.origin(new)}); leave out one of them"
            raise ConfigError(f"{tree.origin(old)}: '{old}' is {advice}")
        origins[new] = origins.pop(old, tree.origin(old))
    values = {name: value for name, value in training.items() if name not in found}
    values["parallel"] = parallel | {name: training[name] for name in found}
    return Tree(tree.values | {"training": values}, origins)


def _for_stage(overrides: Tree, part: Tree, parts: Sequence[Tree]) -> Tree:
    """The overrides without the sections that only other stages have."""
    foreign = {
        key for key in STAGE_SECTIONS if key not in part.values and any(key in other.values for other in parts)
    }
    return Tree({key: value for key, value in overrides.values.items() if key not in foreign}, overrides.origins)


def _finished(run: RunConfig) -> RunConfig:
    return run.shortened() if run.debug else run


def _build(tree: Tree) -> RunConfig:
    run = build_tree(tree, RunConfig)
    first = run.stage in ("tokenizer", "evaluator")
    if first and getattr(run, run.stage) is None and not run.init_from:
        section = f"{run.stage}: {{family: ...}}"
        raise ConfigError(f"{tree.origin('stage')}: stage '{run.stage}' needs a section '{section}'")
    if not first and not run.init_from and run.tokenizer is None:
        advice = "set it to the model folder of the stage before, such as runs/NAME/model"
        raise ConfigError(f"{tree.origin('stage')}: stage '{run.stage}' needs 'init_from'; {advice}")
    return run
