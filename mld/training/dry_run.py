"""The networks of some runs, and how large they would be, without training anything."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from pathlib import Path

from mld.checkpoint import load_model, without_weights
from mld.data.datamodule import MotionDataModule
from mld.errors import MldError
from mld.example import Caption
from mld.models.contracts.evaluator import MotionEvaluator
from mld.models.contracts.network import Network
from mld.models.registry import find
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from mld.training.memory import describe_memory
from mld.training.networks import check_sections, describe_size, make_corpus, make_parts
from mld.training.run_config import RunConfig, load_runs


def describe_runs(configs: Sequence[RunConfig], beside: Path | None = None) -> list[list[str]]:
    """Lines per run: network and parameter count, and the memory of a device; or why they cannot be told yet.

    beside: a config file; a model folder that is not there yet may be that of a run whose config stands beside it."""
    earlier: dict[Path, Network] = {}
    lines = []
    for config in configs:
        try:
            wanted = Path(config.init_from) if config.init_from else None
            if wanted is not None and beside is not None and wanted not in earlier and not wanted.is_dir():
                earlier |= _of_neighbour(wanted, beside, config)
            network = untrained(config, earlier)
        except MldError as error:
            lines.append([f"size not known yet: {error}"])
            continue
        earlier[config.folder / "model"] = network
        lines.append([describe_size(network), *describe_memory(config, network)])
    return lines


def _of_neighbour(folder: Path, beside: Path, asked: RunConfig) -> dict[Path, Network]:
    """The network, without weights, of the run that would make a model folder, by the folder; nothing where none of the
    configs beside a file is of that run, or where it starts from another."""
    same = [f"output={asked.output}", f"data.root={asked.data.root or '.'}"]
    for file in sorted(beside.parent.glob("*.yaml")):
        with contextlib.suppress(MldError):
            for config in load_runs(file, same):
                if config.folder / "model" == folder and not config.init_from:
                    with without_weights():
                        return {folder: untrained(config, {})}
    return {}


def untrained(config: RunConfig, earlier: dict[Path, Network], weights: bool = False) -> Network:
    """The network of a run with arbitrary weights. earlier: by model folder, those of stages that need not have been
    run; the network of an earlier stage may be one and the same, with the settings of this run. weights: also where a
    network is of a kind that is made to be spread over devices, of which otherwise sizes are all that there is."""
    parent = None
    check_sections(config)
    if config.init_from:
        known = earlier.get(Path(config.init_from))
        parent = known if known is not None else load_model(config.init_from)
    if config.stage == "tokenizer":
        section = config.tokenizer
        return parent or find("tokenizer", section.family)(copy.deepcopy(section.config))
    if config.stage == "evaluator":
        return _evaluator(config, parent)
    if parent is None:
        section = config.tokenizer
        parent = find("tokenizer", section.family)(copy.deepcopy(section.config))
    if config.model is None:
        return parent
    if parent.kind == "generator":
        parent.adopt(config.model.config)
        return parent
    cls = find("generator", config.model.family)
    parts = make_parts(config, cls, parent)
    # One that is given text features trains no text tokenizer.
    corpus = [] if "text" in cls.needs else make_corpus(config, MotionDataModule(config.data, "examples", config.seed))
    if "text" in parts:
        _ = parts["text"].width  # of some encoders only their weights tell, which are read as they are
    if cls.shard_units and not weights:  # it may not fit here
        with without_weights():
            return cls.create(copy.deepcopy(config.model.config), parts, corpus)
    return cls.create(copy.deepcopy(config.model.config), parts, corpus)


def _evaluator(config: RunConfig, parent: MotionEvaluator | None) -> Network:
    section = config.evaluator
    if parent is not None:
        return parent if section is None else parent.continued(section.config)
    width = get_representation(config.data.representation).width
    words = [Caption("a person")]
    return find("evaluator", section.family).create(section.config, Normalizer.identity(width), words)
