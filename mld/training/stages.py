"""Run a stage: data, network, Lightning trainer, run folder. Run several in order and continue where they stopped."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from mld.data.clips import ClipSource
from mld.errors import CheckpointError, ConfigError, MldError
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.network import Network
from mld.models.usable import faults
from mld.training.activation_checkpointing import checkpoint_units
from mld.training.callbacks import Evaluating, ShowSamples, StepBar, StepSeeds
from mld.training.checkpoints import Checkpoints, PlainFiles, export_again
from mld.training.clips_seen import check_clips
from mld.training.compiling import compile_units
from mld.training.data import Sources, TrainingData
from mld.training.evaluator_module import EvaluatorModule
from mld.training.generator_module import GeneratorModule
from mld.training.launching import Meeting, environment, losing_others, placed
from mld.training.logs import board_errors_once
from mld.training.module import TrainingModule
from mld.training.networks import check_sections, describe_size, make_network
from mld.training.optimization import parameter_groups
from mld.training.parallel import make_strategy, to_half
from mld.training.run_config import RunConfig, load_run
from mld.training.run_folder import RunFolder, fingerprint, open_run
from mld.training.throughput import Throughput
from mld.training.token_store import TokenStore, named_store, token_store
from mld.training.tokenizer_module import TokenizerModule
from mld.training.trackers import check_loggers, ended, make_loggers

KINDS = {"tokenizer": "features", "evaluator": "pairs"}  # batches by stage
FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS") if hasattr(errno, name)}


def run_stages(configs: Sequence[RunConfig], fresh: bool = False, changed_data: bool = False) -> list[Path]:
    """Run each config in its folder, skipping what is finished and continuing what is not; their model folders.

    fresh: existing run folders are renamed out of the way first. changed_data: unfinished runs go on although their
    clips are no longer what they were."""
    models, sources = [], Sources()
    configs = [placed(config) for config in configs]
    meeting = Meeting.here(configs[0].training.parallel) if configs else Meeting()
    for config in configs:
        run = RunFolder(config.folder)
        with meeting.first_one_first() as turn, _writing(run):
            if fresh and rank_zero_only.rank == 0 and (aside := run.set_aside()):
                say(f"{run.path}: earlier run kept as {aside}")
            _mend(run, config)
            if run.last.is_file():
                run.check_same(config, fingerprint(config.init_from))
            models.append(run_stage(config, run, sources, changed_data, turn.ready))
    return models


def resume(path: str | Path, config: RunConfig, changed_data: bool = False) -> list[Path]:
    """Continue the run in the folder `path` with `config`, its own settings perhaps a little changed."""
    run, config = open_run(path), placed(config)
    with Meeting.here(config.training.parallel).first_one_first() as turn, _writing(run):
        _mend(run, config)
        return [run_stage(config, run, Sources(), changed_data, turn.ready)]


@contextlib.contextmanager
def _writing(run: RunFolder) -> Iterator[None]:
    """`MldError` where the disk is full or the run folder cannot be written: which file, and how the run goes on."""
    try:
        with run.locked(), board_errors_once():
            yield
    except OSError as error:
        path = run.path.absolute()
        own = error.filename is not None and Path(os.fsdecode(error.filename)).absolute().is_relative_to(path)
        above = error.filename is not None and path.is_relative_to(Path(os.fsdecode(error.filename)).absolute())
        if error.errno not in FULL and not own and not above:
            raise
        kept = f"up to step {run.progress.step:,} everything is saved" if run.last.is_file() else "nothing is saved yet"
        where = error.filename or run.path
        raise MldError(f"{where}: {error.strerror}; {kept}, mend this and give the same command again") from error


def run_stage(
    config: RunConfig,
    run: RunFolder,
    sources: Sources,
    changed_data: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> Path:
    """Train one stage to its end, from its last checkpoint if there is one; the model folder. `ConfigError` where its
    clips are no longer those that it began with, unless `changed_data`. ready: called when all is prepared."""
    begun = run.last.is_file()
    finished = begun and run.progress.step >= config.training.max_steps
    if finished and (run.has_model() or rank_zero_only.rank):
        root = load_run(run.config_file).data.root
        other = f" on the data in {root}" if root != config.data.root else ""
        say(f"{config.name}: finished before ({run.progress.step:,} steps){other}; model in {run.model}")
        return run.model
    check_loggers(config)
    check_sections(config)
    _quiet()
    seed_everything(config.seed, verbose=False)
    if config.training.num_threads:
        torch.set_num_threads(config.training.num_threads)
    kind = KINDS.get(config.stage, "examples")
    limit = config.training.max_validation_clips
    data = TrainingData(config.data, kind, config.seed, max_validation_clips=limit, sources=sources)
    if begun and not finished and rank_zero_only.rank == 0:
        check_clips(run.clips, data.train_source, data.val_source, begun, changed_data)
    network = make_network(config, data)
    if getattr(network, "counts_tokens", False):
        data.cfg = replace(data.cfg, legacy_token_lengths=True)
    parameter_groups(network, config.training.optimizer)  # a mistake is better known before long preparations
    if finished:
        provenance = _provenance(config, data, fingerprint(config.init_from))
        export_again(run, build_module(config, network), provenance)
        say(f"{config.name}: finished before ({run.progress.step:,} steps); model in {run.model}, made again")
        return run.model
    if rank_zero_only.rank == 0:
        run.begin(config)
        if not begun:
            check_clips(run.clips, data.train_source, data.val_source, begun)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    trainer = make_trainer(config, run, data, trained)
    _header(config, run, data, network, trainer, begun)
    if kind == "examples":
        network.tokenizer.to(trainer.strategy.root_device)  # the whole may be too large for it before it is cut
        data.tokens = train_tokens(config, network, data)
    module = build_module(config, network)
    if begun:
        check_weights(run.last_weights(), module.state_dict(), run.last)
    if config.training.activation_checkpointing:
        checkpoint_units(network)
    if config.training.compile:
        compile_units(network, config.training.compile)
    checkpoints = next(callback for callback in trainer.callbacks if isinstance(callback, Checkpoints))
    ready()
    saved = f"what was saved is in {run.path}; give the same command again"
    with checkpoints.listening(), ended(trainer.loggers), losing_others(saved, trainer.world_size > 1):
        trainer.fit(module, datamodule=data, ckpt_path=run.last if begun else None)
    if served := data.served():
        say("  served  " + ", ".join(f"{count:,} items of {name}" for name, count in served.items()))
    say(f"{config.name}: {trainer.global_step:,} steps done; model in {run.model}")
    return run.model


def check_weights(weights: Mapping[str, Any], own: Mapping[str, Any], file: Path) -> None:
    """`CheckpointError` where weights of a state are no numbers, or those of a network of another size."""
    if wrong := faults(weights, own):
        raise CheckpointError(f"{file}: {wrong[0]}; start anew (--fresh)")
    for name, value in weights.items():
        if name in own and value.shape != own[name].shape:
            sizes = f"{name} is of shape {tuple(value.shape)}, here it is {tuple(own[name].shape)}"
            raise CheckpointError(f"{file}: of another network ({sizes}); put back its own, or start anew (--fresh)")


def build_module(config: RunConfig, network: Network) -> TrainingModule:
    """The LightningModule of the stage."""
    shared = (network, config.training, config.losses)
    if config.stage == "tokenizer":
        module = TokenizerModule(*shared)
    elif config.stage == "evaluator":
        module = EvaluatorModule(*shared, unit=config.data.unit_length)
    else:
        module = GeneratorModule(*shared, sample_texts=config.training.sample_texts)
    if config.training.parallel.precision == "bf16-true":
        to_half(network)
    return module


def train_tokens(config: RunConfig, network: MotionGenerator, data: TrainingData) -> TokenStore | None:
    """The tokens of all train clips; none when the model is to encode clips itself, in every step."""
    tokenizer = network.tokenizer
    if tokenizer.layout.channels and not config.training.cache_latents:
        return None
    if network.train().tokenizer.training:
        raise ConfigError(
            "model.vae_train_dropout draws the latents of a clip anew in every step, which cannot be done once for all;"
            " set training.cache_latents=false"
        )
    shared = tokenizer, data.train_source, config.data
    named = config.training.tokens
    store = named_store(*shared, named) if named else token_store(*shared, Path(config.output) / "cache")
    if store is not None:
        say(f"  tokens  {store.report()}")
    return store


def make_trainer(config: RunConfig, run: RunFolder, data: TrainingData, parameters: int = 0) -> Trainer:
    """A Lightning trainer that counts in steps and leaves checkpoints, bar and sampler to us. parameters: that are
    trained."""
    settings, parallel = config.training, config.training.parallel
    parent = fingerprint(config.init_from)
    keep = settings.keep_checkpoints
    callbacks = [Throughput(settings.peak_tflops), StepSeeds(config.seed), StepBar(config.name)]
    if settings.samples:
        callbacks.append(ShowSamples(run, lambda: _spread(data.val_source, settings.samples)))
    checkpoints = Checkpoints(run, settings.checkpoint_every_steps, keep, parent, _provenance(config, data, parent))
    return Trainer(
        accelerator=parallel.accelerator,
        devices=parallel.devices,
        num_nodes=parallel.num_nodes,
        strategy=make_strategy(parallel, parameters),
        precision="bf16-mixed" if parallel.precision == "bf16-true" else parallel.precision,
        max_steps=settings.max_steps,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.gradient_clip,
        val_check_interval=min(settings.validate_every_steps, settings.max_steps) * settings.accumulate,
        check_val_every_n_epoch=None,
        log_every_n_steps=settings.log_every_steps,
        logger=make_loggers(config, run),
        callbacks=[*callbacks, Evaluating(), checkpoints],
        plugins=[PlainFiles(), *filter(None, [environment()])],
        default_root_dir=run.path,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        inference_mode=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def say(line: str) -> None:
    """Print on the first process only."""
    if rank_zero_only.rank == 0:
        print(line, flush=True)


def _mend(run: RunFolder, config: RunConfig) -> None:
    if rank_zero_only.rank == 0 and run.path.is_dir():
        run.mend(config.training.keep_checkpoints)


def _header(config, run: RunFolder, data: TrainingData, network: Network, trainer: Trainer, begun: bool) -> None:
    settings, parallel = config.training, config.training.parallel
    per_step = config.data.batch_size * settings.accumulate * parallel.devices * parallel.num_nodes
    say(f"{config.name}: stage {config.stage}, {'continues in' if begun else 'in'} {run.path}")
    say(f"  train   {data.train_source.report()}")
    say(f"  val     {data.val_source.report()}")
    say(f"  model   {describe_size(network)}")
    device = f"{trainer.strategy.root_device} x {parallel.devices}, {torch.get_num_threads()} threads"
    nodes = f" on each of {parallel.num_nodes} nodes" if parallel.num_nodes > 1 else ""
    say(f"  device  {device}{nodes}, precision {parallel.precision}, seed {config.seed}")
    start = f", from step {run.progress.step:,}" if begun else ""
    say(f"  steps   {settings.max_steps:,} of {per_step} items{start}")


def _provenance(config: RunConfig, data: TrainingData, parent: str) -> dict[str, Any]:
    source = data.train_source
    lengths = [source.num_frames(i) for i in range(len(source))]
    return {
        "run": config.name,
        "stage": config.stage,
        "seed": config.seed,
        "max_steps": config.training.max_steps,
        "data": source.report(),
        "data_hash": hashlib.sha256(repr((source.name, source.representation, lengths)).encode()).hexdigest()[:16],
        "parents": [{"folder": config.init_from, "weights_hash": parent}] if config.init_from else [],
    }


def _spread(source: ClipSource, number: int) -> list:
    """`number` clips, evenly spread over the source."""
    return [source[i * len(source) // number] for i in range(min(number, len(source)))]


def _quiet() -> None:
    """Keep Lightning's advertisements and its remarks about what we do on purpose out of the output."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    remarks = ("does not have many workers", "in eval mode", "LeafSpec", "overridden `transfer_batch_to_device`")
    for remark in remarks:
        warnings.filterwarnings("ignore", f".*{remark}")
