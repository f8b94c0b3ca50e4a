"""The network that a run trains: a new one from its config section, or the one in the model folder `init_from`."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mld.checkpoint import load_model
from mld.data.clips import ClipSource, recordings, rows_of
from mld.data.datamodule import MotionDataModule
from mld.data.instructions import InstructionSet
from mld.errors import CheckpointError, ConfigError, nearest
from mld.example import Caption
from mld.models.contracts.evaluator import MotionEvaluator
from mld.models.contracts.generator import MotionGenerator
from mld.models.contracts.network import Network
from mld.models.contracts.tokenizer import MotionTokenizer
from mld.models.registry import find
from mld.models.text_encoders.opening import open_text_encoder
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from mld.training.run_config import RunConfig
from mld.training.text_features import MOST_GB, prepare_text

SAME = 1e-3  # of statistics that are the same but for rounding: in stds, and of their ratio


def make_network(config: RunConfig, data: MotionDataModule) -> Network:
    """The tokenizer of stage `tokenizer`, the evaluator of stage `evaluator`, the generator of any other stage."""
    makers = {"tokenizer": make_tokenizer, "evaluator": make_evaluator}
    return makers.get(config.stage, make_generator)(config, data)


def make_tokenizer(config: RunConfig, data: MotionDataModule) -> MotionTokenizer:
    """A new tokenizer with statistics for the train clips, or an earlier one to go on training."""
    if config.init_from:
        network = load_model(config.init_from)
        if network.kind != "tokenizer":
            raise CheckpointError(f"{config.init_from} holds a {network.kind}, stage 'tokenizer' needs a tokenizer")
    else:
        section = config.tokenizer
        network = find("tokenizer", section.family)(copy.deepcopy(section.config), make_normalizer(config, data))
        network.measure(recordings(data.train_source))
    check_fits(config, network)
    if config.stage == "tokenizer" and not _is_trained(network):
        raise ConfigError(
            f"tokenizer.family '{network.family}' has nothing to train; put the section into the run of a generator"
        )
    return network


def make_normalizer(config: RunConfig, data: MotionDataModule) -> Normalizer:
    """Statistics from the folder that the config names, or measured on the train clips."""
    settings, representation = config.normalizer, get_representation(config.data.representation)
    features = rows_of(data.train_source)
    if settings.folder:
        normalizer = Normalizer.load(settings.folder, settings.kind)
    elif settings.per_column:
        normalizer = Normalizer.fit_columns(features, representation)
    else:
        bias = representation.feature_bias if settings.feature_bias is None else settings.feature_bias
        normalizer = Normalizer.fit(features, representation, bias)
    std = normalizer.check(representation).std.clone()
    for block, factor in settings.spread.items():
        if block not in representation.blocks:
            known = list(representation.blocks)
            raise ConfigError(f"normalizer.spread: '{representation.name}' has no '{block}'; {nearest(block, known)}")
        std[representation.blocks[block]] *= factor
    return replace(normalizer, std=std)


def make_generator(config: RunConfig, data: MotionDataModule) -> MotionGenerator:
    """The generator in `init_from`, with the settings of this run, or a new one over the tokenizer in it."""
    parent = load_model(config.init_from) if config.init_from else _untrained_tokenizer(config, data)
    if parent.kind == "tokenizer":
        if config.model is None:
            raise ConfigError(
                f"a new generator over the tokenizer '{config.init_from or parent.family}' needs a section"
                " 'model: {family: ...}'"
            )
        cls = find("generator", config.model.family)
        parts = make_parts(config, cls, parent)
        parent = cls.create(copy.deepcopy(config.model.config), parts, Corpus(lambda: make_corpus(config, data)))
    elif config.model is not None:
        if (family := config.model.family) != parent.family:
            raise ConfigError(f"model.family is '{family}', but {config.init_from} holds a '{parent.family}'")
        parent.adopt(config.model.config)
    check_fits(config, parent.tokenizer)
    prepare_captions(config, parent, data)
    return parent


class Corpus(Sequence[str]):
    """Sentences that are looked up when a family asks for them: most do not, and a million clips have many."""

    def __init__(self, read: Callable[[], list[str]]) -> None:
        self._read = read

    @cached_property
    def _lines(self) -> list[str]:
        return self._read()

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: Any) -> Any:
        return self._lines[index]


def make_parts(config: RunConfig, cls: type[Network], tokenizer: MotionTokenizer) -> dict[str, Any]:
    """What a new generator of a class is made over."""
    parts: dict[str, Any] = {"tokenizer": tokenizer}
    chosen = config.text_encoder
    if "text" in cls.needs or ("text" in cls.may_have and chosen is not None):
        if chosen is None:
            raise ConfigError(
                f"model.family '{cls.family}' reads text features; say of which encoder: text_encoder.source=minilm, a"
                " folder or a hub id"
            )
        parts["text"] = open_text_encoder(chosen.source, chosen.family, dtype=chosen.dtype, width=chosen.width)
    return parts


def _untrained_tokenizer(config: RunConfig, data: MotionDataModule) -> MotionTokenizer:
    """The tokenizer of a run without `init_from`: one that has statistics and nothing to learn."""
    tokenizer = make_tokenizer(config, data)
    if _is_trained(tokenizer):
        raise ConfigError(
            f"tokenizer.family '{tokenizer.family}' has to be trained in a stage of its own; set init_from to its model"
        )
    return tokenizer


def _is_trained(network: Network) -> bool:
    return any(parameter.requires_grad for parameter in network.parameters())


def prepare_captions(config: RunConfig, network: MotionGenerator, data: MotionDataModule) -> None:
    """Compute text features of all captions once, where the network reads such and they are not too many."""
    if "text" not in network.parts:
        if config.text_encoder is not None:
            made = " as it was made without an encoder" if "text" in network.may_have else ""
            raise ConfigError(
                f"text_encoder: this '{network.family}' reads no text features{made}; leave the section out"
            )
        return
    kept = config.text_encoder.cached_tokens if config.text_encoder is not None else "float32"
    if config.text_cache:
        network.text.keep_in(config.text_cache, kept)
    most = config.text_encoder.most_gb if config.text_encoder is not None else MOST_GB
    prepare_text(network.text, data.train_source, network.device, kept, most, bool(config.text_cache))


def make_evaluator(config: RunConfig, data: MotionDataModule) -> MotionEvaluator:
    """A new evaluator with statistics and words of the train clips, or the one in `init_from`, to go on with."""
    captions = list(_captions(data.train_source))
    network = _earlier_evaluator(config) if config.init_from else _new_evaluator(config, data, captions)
    network.prepare_text(captions, Path(config.text_cache) if config.text_cache else None)
    return network


def _new_evaluator(config: RunConfig, data: MotionDataModule, captions: Sequence[Caption]) -> MotionEvaluator:
    section = config.evaluator
    return find("evaluator", section.family).create(section.config, make_normalizer(config, data), captions)


def _earlier_evaluator(config: RunConfig) -> MotionEvaluator:
    section, network = config.evaluator, load_model(config.init_from)
    if network.kind != "evaluator":
        raise CheckpointError(f"{config.init_from} holds a {network.kind}, stage 'evaluator' needs an evaluator")
    check_reads(config, network.representation)
    if section is None:
        return network
    if section.family != network.family:
        raise ConfigError(f"evaluator.family is '{section.family}', but {config.init_from} holds a '{network.family}'")
    return network.continued(section.config)


def make_corpus(config: RunConfig, data: MotionDataModule) -> list[str]:
    """All sentences a text tokenizer built from scratch should know: captions and the phrasings of instructions."""
    captions = dict.fromkeys(caption.text for caption in _captions(data.train_source))
    phrasings: dict[str, None] = {}
    for name in dict.fromkeys(("pretrain", "instruct", config.data.instructions)):
        for template in InstructionSet.load(name).templates.values():
            phrasings |= dict.fromkeys(re.sub(r"<[^<>]*>", " ", text) for text in template.inputs + template.outputs)
    return [*captions, *phrasings]


def count_parameters(network: Network) -> tuple[int, int]:
    """All parameters, and those of a generator's frozen tokenizer."""
    frozen = getattr(network, "tokenizer", None)
    total = sum(parameter.numel() for parameter in network.parameters())
    return total, sum(parameter.numel() for parameter in frozen.parameters()) if frozen is not None else 0


def describe_size(network: Network) -> str:
    """`MotionGPT, 12.34 M parameters, 2.00 M of them in the frozen tokenizer`."""
    total, frozen = count_parameters(network)
    part = f", {frozen / 1e6:.2f} M of them in the frozen tokenizer" if frozen else ""
    return f"{type(network).__name__}, {total / 1e6:.2f} M parameters{part}"


def check_fits(config: RunConfig, tokenizer: MotionTokenizer) -> None:
    """`ConfigError` when data and tokenizer do not speak of the same features or units."""
    if tokenizer.representation != config.data.representation:
        raise ConfigError(
            f"data.representation is '{config.data.representation}', but this tokenizer reads"
            f" '{tokenizer.representation}'; set data.representation={tokenizer.representation}"
        )
    check_statistics(config, tokenizer)
    if tokenizer.layout.frames_per_token not in (0, config.data.unit_length):
        raise ConfigError(
            f"data.unit_length is {config.data.unit_length}, but a token of this tokenizer is"
            f" {tokenizer.layout.frames_per_token} frames; set data.unit_length={tokenizer.layout.frames_per_token}"
        )
    if 0 < (longest := tokenizer.layout.longest) < config.data.max_frames:
        raise ConfigError(
            f"data.max_frames is {config.data.max_frames}, but this tokenizer reads at most {longest} frames;"
            f" set data.max_frames={longest}"
        )


def check_statistics(config: RunConfig, tokenizer: MotionTokenizer) -> None:
    """`ConfigError` where the run names other statistics than those that came with the model it goes on with: features
    would mean something else to it. `normalizer.spread` changes the std on purpose."""
    folder, own = config.normalizer.folder, getattr(tokenizer, "feature_mean", None)
    if not (config.init_from and folder) or own is None:
        return
    named = Normalizer.load(folder, config.normalizer.kind).check(get_representation(tokenizer.representation))
    std = tokenizer.feature_std
    off = ((named.mean.to(own) - own) / std).abs().max()
    factor = 1.0 if config.normalizer.spread else float((named.std.to(std) / std).log().abs().max().exp())
    if float(off) > SAME or factor > 1 + SAME:
        raise ConfigError(
            f"normalizer.folder: {folder} holds other statistics than {config.init_from} was trained with (mean off by"
            f" {float(off):.2g} std, std by a factor of {factor:.2g}); those of the model are used, leave it out"
        )


def check_sections(config: RunConfig) -> None:
    """What of `check_fits` and `check_reads` is known of a new network before any clip is opened."""
    if config.init_from:
        return
    if config.stage == "evaluator" and config.evaluator is not None:
        check_reads(config, config.evaluator.config.representation)
    if config.stage == "tokenizer" and config.tokenizer is not None:
        reads = config.tokenizer.config.representation
        if reads != config.data.representation:
            raise ConfigError(
                f"data.representation is '{config.data.representation}', but this tokenizer reads '{reads}'; set"
                f" data.representation={reads}"
            )


def check_reads(config: RunConfig, representation: str) -> None:
    """`ConfigError` when the clips are not of the evaluator's representation."""
    if representation != config.data.representation:
        raise ConfigError(
            f"data.representation is '{config.data.representation}', but this evaluator reads '{representation}'; set"
            " evaluator.representation to that of the data"
        )


def _captions(source: ClipSource) -> Iterable[Caption]:
    return (caption for i in range(len(source)) for caption in source.captions(i))
