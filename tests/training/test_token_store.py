"""Tokens on disk: what encoding gives, for exactly what can be drawn, made once and kept."""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mld.data.datamodule import InstructionExamples
from mld.errors import CheckpointError, DataError
from mld.example import Clip
from mld.models.contracts.tokens import TokenLayout
from mld.training import token_encoding, token_writing
from mld.training import token_store as stores
from mld.training.data import Sources, TrainingData
from mld.training.networks import make_network
from mld.training.run_config import load_runs
from mld.training.token_encoding import tokenize
from mld.training.token_store import named_store, token_store


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
    monkeypatch.setattr(token_writing, "GROUP", 5)
    monkeypatch.setattr(token_encoding, "BATCH", 7)
    cache = token_store(tokenizer, source, cfg, folder)
    assert len(cache) == len(source) == 18
    cached, encoded = (InstructionExamples(source, cfg, tokens) for tokens in (cache, None))
    for number in range(40):
        item = (number % 18, number)
        for known, raw in zip(clips_of(cached[item]), clips_of(encoded[item]), strict=True):
            assert known.tokens.shape == (2, 1, 8) and known.tokens.dtype == torch.float32
            alone = token_encoding.encoded(tokenizer, [raw.features])[0]
            torch.testing.assert_close(known.tokens, alone, rtol=1e-4, atol=1e-5)


def test_it_is_made_once_and_anew_when_anything_it_follows_from_changes(vae, folder, monkeypatch):
    tokenizer, source, cfg = vae
    cfg = replace(cfg, instructions="pretrain")
    files = {token_store(tokenizer, source, cfg, folder).folder}
    with monkeypatch.context() as patch:
        patch.setattr(stores, "write_store", None)  # would fail if it were called
        files.add(token_store(tokenizer, source, cfg, folder).folder)
        files.add(token_store(tokenizer, source, replace(cfg, batch_size=3, quote_probability=0), folder).folder)
    assert len(files) == 1
    files.add(token_store(tokenizer, source, replace(cfg, tasks={"Text-to-Motion": 1.0}), folder).folder)
    files.add(token_store(tokenizer, Moved(source), cfg, folder).folder)
    with torch.no_grad():
        tokenizer.feature_std[5] *= 1.01
    files.add(token_store(tokenizer, source, cfg, folder).folder)
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

    @property
    def lengths(self):
        return self.source.lengths

    @property
    def name(self):
        return self.source.name


def test_rows_are_read_not_held_and_workers_open_the_file_themselves(vae, folder):
    cache = token_store(*vae, folder)
    name = next(iter(cache))
    rows = cache[name]
    again = pickle.loads(pickle.dumps(cache))
    assert len(pickle.dumps(cache)) < 20_000 and again._arrays is None
    assert all(torch.equal(again[name][stretch], value) for stretch, value in rows.items())
    assert "18 clips" in cache.report()


def test_tasks_without_motion_need_no_latents(vae, folder):
    tokenizer, source, cfg = vae
    assert token_store(tokenizer, source, replace(cfg, tasks={"Text-to-Text": 1.0}), folder) is None
    assert not folder.exists()


def test_a_full_disk_and_a_useless_tokenizer_are_told_before_training(vae, folder, monkeypatch):
    tokenizer, source, cfg = vae
    with monkeypatch.context() as patch:
        patch.setattr(token_writing.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
        with pytest.raises(DataError, match="18 clips take .* GB, .*training.cache_latents=false"):
            token_store(tokenizer, source, cfg, folder)
    with torch.no_grad():
        tokenizer.network.encoder.norm.weight.zero_()
    with pytest.raises(CheckpointError, match="same latent for every clip"):
        token_store(tokenizer, source, cfg, folder)
    with torch.no_grad():
        tokenizer.network.encoder.norm.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        token_store(tokenizer, source, cfg, folder)
    assert not list(folder.iterdir())


@pytest.fixture
def vqvae(configs):
    """A tokenizer of codes whose codebook is settled, and the walks it reads."""
    config = load_runs(configs / "tokenizer.yaml", ["tokenizer.codebook_size=300"])[0]
    data = TrainingData(config.data, "features", 0, max_validation_clips=2, sources=Sources())
    torch.manual_seed(0)
    tokenizer = make_network(config, data)
    with pytest.raises(CheckpointError, match="same token for every frame of every clip; train it first"):
        token_store(tokenizer, data.train_source, config.data, configs / "unused")  # a new codebook is all zero
    tokenizer.train().loss(next(iter(data.train_dataloader())))
    return tokenizer.eval(), data.train_source, config.data


def test_codes_of_whole_clips_in_the_smallest_type(vqvae, folder):
    tokenizer, source, cfg = vqvae
    store = token_store(tokenizer, source, cfg, folder)
    clips = [source[i] for i in range(18)]
    known = tokenize(tokenizer, clips)
    assert list(store) == [clip.name for clip in clips]
    for clip in clips:
        assert store[clip.name].dtype == torch.int64 and len(store[clip.name]) == clip.num_frames // 4
        assert torch.equal(store[clip.name], known[clip.name])
    values = store._arrays[0]
    assert values.dtype == np.uint16 and len(np.unique(values.rows(0, values.length))) > 1
    assert "18 stretches of 18 clips" in store.report() and store.bytes() < 3000


@pytest.mark.parametrize("file", ["values.npy", "offsets.npy", "sha256"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "foreign", "gone", "folder"])
def test_a_damaged_store_is_made_anew_with_a_line(vqvae, folder, capsys, file, harm):
    good = token_store(*vqvae, folder)
    wanted = {name: good[name] for name in good}
    path = good.folder / file
    content = bytearray(path.read_bytes())
    path.unlink()
    if harm == "folder":
        path.mkdir()
    elif harm != "gone":
        content[-3] ^= 16
        path.write_bytes({"flipped": content, "cut": content[:-5], "foreign": b"PK\3\4 of something else"}[harm])
    capsys.readouterr()
    again = token_store(*vqvae, folder)
    assert all(torch.equal(again[name], codes) for name, codes in wanted.items())
    assert f"{good.folder}: damaged; made anew" in capsys.readouterr().err
    assert list(folder.iterdir()) == [good.folder], "and nothing else is left behind"


def test_tokens_that_are_cut_off_while_they_are_read_are_an_error_and_no_crash(vqvae, folder):
    store = token_store(*vqvae, folder)
    names = list(store)
    assert len(store[names[0]])
    os.truncate(store.folder / "values.npy", 140)
    with pytest.raises(DataError, match=r"values.npy: changed or removed while it is in use"):
        store[names[-1]]


@pytest.mark.parametrize("harm", ["a flipped token", "a group too many", "not a list", "other bytes", "a line cut off"])
def test_an_interrupted_store_that_was_damaged_begins_anew(vqvae, folder, monkeypatch, harm):
    tokenizer, source, cfg = vqvae
    monkeypatch.setattr(token_writing, "GROUP", 5)
    wanted = token_store(tokenizer, source, cfg, folder)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(token_encoding, "encoded", dying(after=10))
        token_store(tokenizer, source, cfg, folder / "new")
    partial = next((folder / "new").glob("*.partial"))
    done = partial / "groups_done"
    lines = done.read_bytes()
    assert [json.loads(line)[0] for line in lines.splitlines()] == [0, 1]
    if harm == "a flipped token":
        values = bytearray((partial / "values.npy").read_bytes())
        values[-1] ^= 1
        values[140] ^= 1
        (partial / "values.npy").write_bytes(values)
    else:
        done.write_bytes({"a group too many": lines + b'[9, 3, ["a"]]\n', "not a list": b"3",
                          "a line cut off": lines[:-9], "other bytes": b"\xff\xfe"}[harm])  # fmt: skip
    made = token_store(tokenizer, source, cfg, folder / "new")
    assert all(torch.equal(made[name], wanted[name]) for name in wanted)
    assert (made.folder / "values.npy").read_bytes() == (wanted.folder / "values.npy").read_bytes()


def dying(after, calls=None):
    """`encoded` until so many stretches were encoded, then a stop from outside."""
    original, calls = token_encoding.encoded, [] if calls is None else calls

    def dies(*arguments):
        calls.append(len(arguments[1]))
        if sum(calls) > after:
            raise KeyboardInterrupt
        return original(*arguments)

    return dies


class Latents(torch.nn.Module):
    """One vector, or its posterior, for two frames."""

    family = "latents"

    def __init__(self, posterior: bool) -> None:
        super().__init__()
        self.weight, self.posterior = torch.nn.Parameter(torch.ones(1)), posterior
        self.layout, self.device = TokenLayout(channels=3, frames_per_token=2), torch.device("cpu")

    def describe(self):
        return {"posterior": self.posterior}

    def stored(self, features, mask):
        latents = features[:, ::2, :3] * self.weight
        return (torch.stack((latents, -latents), 1) if self.posterior else latents), mask[:, ::2]


@pytest.mark.parametrize("posterior", [False, True])
def test_vectors_of_frames_are_kept_clip_by_clip(vqvae, folder, posterior):
    _, source, cfg = vqvae
    tokenizer = Latents(posterior)
    store = token_store(tokenizer, source, cfg, folder)
    for clip in (source[i] for i in (0, 7, 17)):
        want = clip.features[: clip.num_frames // 2 * 2 : 2, :3]
        got = store[clip.name]
        assert torch.equal(got, torch.stack((want, -want)) if posterior else want)
        assert torch.equal(tokenize(tokenizer, [clip])[clip.name], got)


def test_making_a_store_goes_on_where_it_was_interrupted(vqvae, folder, monkeypatch):
    tokenizer, source, cfg = vqvae
    monkeypatch.setattr(token_writing, "GROUP", 5)
    straight = token_store(tokenizer, source, cfg, folder / "straight")
    original, calls = token_encoding.encoded, []
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(token_encoding, "encoded", dying(10, calls))
        token_store(tokenizer, source, cfg, folder)
    assert calls == [5, 5, 5]
    calls.clear()
    monkeypatch.setattr(token_encoding, "encoded", lambda *a: calls.append(len(a[1])) or original(*a))
    store = token_store(tokenizer, source, cfg, folder)
    assert calls == [5, 3], "what was done before the interruption is not done again"
    assert all(torch.equal(store[name], straight[name]) for name in straight)
    assert sorted(path.name for path in folder.iterdir()) == sorted(["straight", store.folder.name])
    kept = ["about.json", "names", "offsets.npy", "sha256", "values.npy"]
    assert sorted(path.name for path in store.folder.iterdir()) == kept


class Known(Moved):
    """Clips whose source knows a hash of them."""

    fingerprint = "17"

    def __init__(self, source, readable=True):
        self.source, self.readable = source, readable

    def __getitem__(self, index):
        assert self.readable, "a clip is read"
        return self.source[index]


def test_a_store_of_clips_with_a_fingerprint_is_found_without_reading_one(vqvae, folder):
    tokenizer, source, cfg = vqvae
    made = token_store(tokenizer, Known(source), cfg, folder)
    found = token_store(tokenizer, Known(source, readable=False), cfg, folder)
    assert found.folder == made.folder
    for index in (0, 17):
        assert torch.equal(found.at(index), tokenize(tokenizer, [source[index]])[source[index].name])
    other = Known(source)
    other.fingerprint = "18"
    assert token_store(tokenizer, other, cfg, folder).folder != made.folder


def test_a_store_that_is_named_has_to_be_of_this_tokenizer_and_these_clips(vqvae, folder):
    tokenizer, source, cfg = vqvae
    with pytest.raises(DataError, match=r"no token store in .*; make them with python -m prepare.tokens"):
        named_store(tokenizer, source, cfg, folder)
    made = token_store(tokenizer, source, cfg, folder)
    for named in (folder, made.folder):
        assert named_store(tokenizer, source, cfg, named).folder == made.folder
    with pytest.raises(DataError, match=r"tokens-\w+ holds tokens of other clips \(.*18 clips\); make them"):
        named_store(tokenizer, Moved(source), cfg, folder)
    with torch.no_grad():
        tokenizer.feature_std[5] *= 1.01
    told = r"tokens-\w+ holds tokens of another tokenizer \(vqvae \w{16}, this one is \w{16}\); make them with"
    with pytest.raises(CheckpointError, match=told) as error:
        named_store(tokenizer, source, cfg, folder)
    assert str(error.value).endswith("leave training.tokens out")
    with torch.no_grad():
        tokenizer.feature_std[5] /= 1.01


def test_a_clip_that_cannot_be_encoded_is_told_and_the_others_stay_done(vqvae, folder, monkeypatch, capsys):
    tokenizer, source, cfg = vqvae
    monkeypatch.setattr(token_writing, "GROUP", 5)
    broken = Known(source)
    broken.fingerprint, readable = "19", broken.__class__.__getitem__
    with monkeypatch.context() as patch:
        gone = DataError("clips/03.npy: gone")
        patch.setattr(Known, "__getitem__", lambda self, index: _raise(gone) if index == 3 else readable(self, index))
        with pytest.raises(DataError, match="1 of 4 groups of clips have no tokens: .*clips/03.npy: gone; mend this"):
            token_store(tokenizer, broken, cfg, folder)
    calls, original = [], token_encoding.encoded
    monkeypatch.setattr(token_encoding, "encoded", lambda *a: calls.append(len(a[1])) or original(*a))
    assert len(token_store(tokenizer, broken, cfg, folder)) == 18 and len(calls) == 1


def _raise(error):
    raise error
