"""Texts and model folders: each function makes good files in a folder and gives what runs one damaged case."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import torch

from tests.walking import walker
from tests.wild.fuzz.damage import damaged_file, damaged_text
from tests.wild.fuzz.harness import Case
from tests.wild.fuzz.table import ROOT, kind, with_good

# texts


@kind
def lines(work: Path) -> Case:
    import tasks
    from mld.errors import MldError
    from mld.evaluation.task import Setting
    from mld.motion.representations.registry import get_representation
    from tasks.lines import read_lines

    good = ("a person walks#20\na person jumps#6s\nwalk.npy#8\nSay <motion>#walk.npy\na#b/NOUN c/VERB#0.0#0.0\n"
            "Make <Frame_Placeholder>: <Caption_Placeholder>#a man runs#60\nwalk.npy#walk.npy#6\n")  # fmt: skip
    known = [tasks.find(name) for name in tasks.NAMES]
    representation = get_representation("humanml3d")

    def case(chance: random.Random, folder: Path) -> None:
        np.save(folder / "walk.npy", walker(40).numpy())
        (folder / "list.txt").write_bytes(damaged_text(good, chance))
        last: MldError | None = None
        for _, line in read_lines(folder / "list.txt"):
            try:
                chance.choice(known).parse(line, Setting(representation, 4, folder))
            except MldError as error:
                last = error
        if last is not None:
            raise last

    return case


@kind
def configs(work: Path) -> Case:
    import shutil

    from mld.training.run_config import load_runs

    shutil.copytree(ROOT / "configs", work / "configs")
    names = sorted((work / "configs").glob("*/*.yaml"))
    good = {path: path.read_text() for path in names}

    def case(chance: random.Random, folder: Path) -> None:
        path = chance.choice(names)
        try:
            path.write_bytes(damaged_text(good[path], chance))
            load_runs(path, [damaged_text(chance.choice(["training.max_steps=3", "data.root=x"]), chance).decode(
                "utf-8", "replace")] if chance.random() < 0.2 else [])  # fmt: skip
        finally:
            path.write_text(good[path])

    return case


@kind
def results(work: Path) -> Case:
    from prepare.leaderboard import main
    from tests.prepare.test_leaderboard import results as good_results

    def case(chance: random.Random, folder: Path) -> None:
        (folder / "results.json").write_bytes(damaged_text(json.dumps(good_results("a", 0.5)), chance))
        main([str(folder)])

    return case


# model folders


def _answers(folder: Path) -> None:
    """A model folder is opened and asked, as far as it goes; weights of damaged numbers give damaged motions."""
    from mld.engine.pipeline import Pipeline

    Pipeline.load(str(folder)).generate("a person walks", seconds=0.4)


@kind
def models_in_order(work: Path) -> Case:
    from mld.checkpoint import save_model
    from tests.commands.conftest import tiny_model

    return with_good(save_model(tiny_model(), work / "good", {}), _answers)


@kind
def models_at_once(work: Path) -> Case:
    from mld.checkpoint import save_model
    from tests.models.tiny import tiny_motiongpt3

    return with_good(save_model(tiny_motiongpt3(), work / "good", {}), _answers)


@kind
def sharded_models(work: Path) -> Case:
    from mld.checkpoint import save_model
    from tests.commands.conftest import tiny_model

    return with_good(save_model(tiny_model(), work / "good", {}, largest_file=20_000), _answers)


@kind
def evaluators(work: Path) -> Case:
    from mld.checkpoint import load_model, save_model
    from tests.models.evaluating import tiny_guo

    return with_good(save_model(tiny_guo(), work / "good", {}), load_model)


@kind
def text_encoders(work: Path) -> Case:
    from mld.models.text_encoders.opening import open_text_encoder
    from tests.models import text_encoding
    from tests.models.evaluating import write_text_encoder

    write_text_encoder(work / "bert")
    for name in ("t5", "sentence_t5"):
        (work / name).mkdir()
        getattr(text_encoding, f"write_{name}")(work / name)
    cases = [with_good(work / name, lambda it: open_text_encoder(str(it)).encode(["a person walks"]))
             for name in ("bert", "t5", "sentence_t5")]  # fmt: skip
    return lambda chance, folder: chance.choice(cases)(chance, folder)


@kind
def language_models(work: Path) -> Case:
    """Folders of pretrained language models, which training starts from."""
    from mld.models.backbones.text_tokenizer import load_text_tokenizer
    from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
    from mld.models.families.motiongpt.model import MotionGPT
    from tests.models import text_encoding
    from tests.models.tiny import CORPUS, tiny_vqvae

    (work / "t5").mkdir()
    text_encoding.write_t5(work / "t5")
    vqvae = tiny_vqvae()

    def use(it: Path) -> None:
        load_text_tokenizer(it)
        MotionGPT.create(MotionGPTConfig(lm=LanguageModelConfig(pretrained=str(it))), {"tokenizer": vqvae}, CORPUS)

    return with_good(work / "t5", use)


@kind
def published(work: Path) -> Case:
    """Any file as published weights."""
    from prepare.convert import main

    good = {
        "a.ckpt": {"state_dict": {"vae.x": torch.ones(3)}}, "b.pth": {"module": {"encoder.0.weight": torch.ones(2, 2)}},
    }  # fmt: skip
    for name, content in good.items():
        torch.save(content, work / name)
    for name in ("mean", "std"):
        np.save(work / f"{name}.npy", np.ones(263, np.float32))
    seeds = [(work / name).read_bytes() for name in good] + [b"hello", b"<!DOCTYPE html><html></html>", b""]

    def case(chance: random.Random, folder: Path) -> None:
        from prepare._families import IMPORTS

        path = folder / chance.choice(["a.ckpt", "b.pth", "c.tar", "d.safetensors"])
        path.write_bytes(damaged_file(path.name, chance.choice(seeds), chance))
        family = chance.choice(list(IMPORTS))
        beside = ["--tae", str(path)] if "--tae" in IMPORTS[family].options else []
        main([family, str(path), str(folder / "out"), "--stats", str(work), *beside])

    return case
