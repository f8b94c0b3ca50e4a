"""Latents of all stretches on disk: what encoding gives, for exactly what can be drawn, made once and kept."""

from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mld.data.datamodule import InstructionExamples
from mld.errors import CheckpointError, DataError
from mld.example import Clip
from mld.training import latent_cache as module
from mld.training.data import Sources, TrainingData
from mld.training.latent_cache import latent_cache, posteriors
from mld.training.networks import make_network
from mld.training.run_config import load_runs


@pytest.fixture
def vae(configs):
    """A tokenizer with random weights, and the walks it reads."""
    config = load_runs(configs / "vae.yaml")[0]
    data = TrainingData(config.data, "features", 0, max_validation_clips=2, sources=Sources())
    torch.manual_seed(0)
    return make_network(config, data).eval(), data.train_source, config.data


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def clips_of(example):
    return [part for part in (*example.prompt, *example.target) if isinstance(part, Clip)]


def test_examples_carry_what_encoding_their_stretches_gives(vae, folder, monkeypatch):
    tokenizer, source, cfg = vae
    monkeypatch.setattr(module, "GROUP", 5)
    monkeypatch.setattr(module, "BATCH", 7)
    cache = latent_cache(tokenizer, source, cfg, folder)
    assert len(cache) == len(source) == 18
    cached, encoded = (InstructionExamples(source, cfg, tokens) for tokens in (cache, None))
    for number in range(40):
        item = (number % 18, number)
        for known, raw in zip(clips_of(cached[item]), clips_of(encoded[item]), strict=True):
            assert known.tokens.shape == (2, 1, 8) and known.tokens.dtype == torch.float32
            torch.testing.assert_close(known.tokens, posteriors(tokenizer, [raw.features])[0], rtol=1e-4, atol=1e-5)


def test_it_is_made_once_and_anew_when_anything_it_follows_from_changes(vae, folder, monkeypatch):
    tokenizer, source, cfg = vae
    cfg = replace(cfg, instructions="pretrain")
    files = {latent_cache(tokenizer, source, cfg, folder).file}
    with monkeypatch.context() as patch:
        patch.setattr(module, "_write", None)  # would fail if it were called
        files.add(latent_cache(tokenizer, source, cfg, folder).file)
        files.add(latent_cache(tokenizer, source, replace(cfg, batch_size=3, quote_probability=0), folder).file)
    assert len(files) == 1
    files.add(latent_cache(tokenizer, source, replace(cfg, tasks={"Text-to-Motion": 1.0}), folder).file)
    files.add(latent_cache(tokenizer, Moved(source), cfg, folder).file)
    with torch.no_grad():
        tokenizer.feature_std[5] *= 1.01
    files.add(latent_cache(tokenizer, source, cfg, folder).file)
    assert len(files) == 4 and set(folder.iterdir()) == files, "and nothing else is left behind"


class Moved:
    """The same clips with a number changed in one of them."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def __getitem__(self, index):
        clip = self.source[index]
        features = clip.features.clone()
        features[3, 3] += 1e-3 * (index == 7)
        return replace(clip, features=features)

    def num_frames(self, index):
        return self.source.num_frames(index)


def test_rows_are_mapped_not_held_and_workers_open_the_file_themselves(vae, folder):
    cache = latent_cache(*vae, folder)
    name = next(iter(cache))
    rows = cache[name]
    assert isinstance(cache._rows, np.memmap)
    again = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 20_000 and again._rows is None
    assert all(torch.equal(again[name][stretch], value) for stretch, value in rows.items())
    assert "18 clips" in cache.report()


def test_tasks_without_motion_need_no_latents(vae, folder):
    tokenizer, source, cfg = vae
    assert latent_cache(tokenizer, source, replace(cfg, tasks={"Text-to-Text": 1.0}), folder) is None
    assert not folder.exists()


def test_a_full_disk_and_a_useless_tokenizer_are_told_before_training(vae, folder, monkeypatch):
    tokenizer, source, cfg = vae
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(DataError, match="18 clips take .* GB, .*training.cache_latents=false"):
            latent_cache(tokenizer, source, cfg, folder)
    with torch.no_grad():
        tokenizer.network.encoder.norm.weight.zero_()
    with pytest.raises(CheckpointError, match="same latent for every clip"):
        latent_cache(tokenizer, source, cfg, folder)
    with torch.no_grad():
        tokenizer.network.encoder.norm.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        latent_cache(tokenizer, source, cfg, folder)
    assert not list(folder.iterdir())
