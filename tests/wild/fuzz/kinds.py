"""What is damaged, by kind: each function makes good files in a folder and gives what runs one damaged case."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mld.data.config import DataConfig
from tests.walking import walker
from tests.wild.fuzz.damage import damage, damaged_file, damaged_text, linked
from tests.wild.fuzz.harness import Case

ROOT = Path(__file__).parents[3]
KINDS: dict[str, Callable[[Path], Case]] = {}
SUFFIXES = (".npy", ".npz", ".bvh", ".glb", ".gltf", ".csv", ".json", ".pt")


def kind(make: Callable[[Path], Case]) -> Callable[[Path], Case]:
    KINDS[make.__name__] = make
    return make


def with_good(good: Path, use: Callable[[Path], object]) -> Case:
    """A case damages a copy of the good folder and uses it."""

    def case(chance: random.Random, folder: Path) -> None:
        damage(linked(good, folder / "it"), chance)
        use(folder / "it")

    return case


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


# data


@functools.cache
def _features() -> np.ndarray:
    from mld.motion.representations.registry import get_representation

    return get_representation("humanml3d").encode_joints(walker(60)[None])[0].numpy()


def _open_data(cfg: DataConfig) -> None:
    """As training and the doctor do, every clip read."""
    from mld.data.doctor import EXAMINED, examine
    from mld.data.sources.opening import build_source

    source = build_source(cfg, "train")
    for index in range(len(source)):
        source[index]
        source.captions(index)
    source.report()
    if cfg.source in EXAMINED:
        examine(cfg)


@kind
def joints_data(work: Path) -> Case:
    good = work / "good"
    (good / "splits").mkdir(parents=True)
    for split in ("train", "val", "test"):
        (good / "splits" / f"{split}.txt").write_text("c0\nc1\nc2\n")
    np.savez(good / "trials.npz", t0=walker(60).numpy(), t1=walker(50, turning=0.02).numpy())
    (good / "clips.jsonl").write_text("".join(json.dumps({
        "id": f"c{i}", "trial": f"t{i % 2}", "start": 0, "end": 40 + i, "captions": ["a person walks"], "label": "walk",
        "quality": "good"}) + "\n" for i in range(3)))  # fmt: skip
    return with_good(good, lambda it: _open_data(DataConfig(source="joints", root=str(it), min_frames=20)))


@kind
def humanml_data(work: Path) -> Case:
    good = work / "good"
    for name in ("new_joint_vecs", "texts"):
        (good / name).mkdir(parents=True)
    for split in ("train", "val", "test"):
        (good / f"{split}.txt").write_text("a\nb\n")
    for name in "ab":
        np.save(good / "new_joint_vecs" / f"{name}.npy", _features())
        (good / "texts" / f"{name}.txt").write_text("a person walks#a/DET person/NOUN walk/VERB#0.0#0.0\n"
                                                    "he stops#he/PRON stop/VERB#1.0#2.5\n")  # fmt: skip
    np.save(good / "Mean.npy", _features().mean(0))
    np.save(good / "Std.npy", _features().std(0) + 0.1)
    return with_good(good, lambda it: _open_data(DataConfig(source="humanml3d", root=str(it), min_frames=20)))


@kind
def motion_folders(work: Path) -> Case:
    from mld.motion.motion import Motion

    good = work / "good"
    good.mkdir()
    for name in ("walk.bvh", "turn.npz", "run.glb"):
        Motion(walker(60), 20.0).save(good / name)
    (good / "captions.csv").write_text("walk,a person walks\nturn,somebody turns\n")
    return with_good(good, lambda it: _open_data(DataConfig(source="files", root=str(it), min_frames=20)))


@kind
def motions(work: Path) -> Case:
    """Files of every format, or anything in their place."""
    from mld.motion.importing import import_report
    from mld.motion.motion import Motion
    from tests.motion.fuzz.guard import check

    cases = []
    for suffix in SUFFIXES:
        good = work / suffix[1:]
        good.mkdir()
        if suffix == ".pt":
            torch.save({"joints": walker(8)}, good / "walk.pt")
        elif suffix == ".json":
            (good / "walk.json").write_text(json.dumps({"joints": walker(4).tolist(), "fps": 20}))
        elif suffix == ".csv":
            rows = "\n".join(",".join(f"{number:.4f}" for number in row) for row in walker(6).flatten(1).tolist())
            (good / "walk.csv").write_text(rows + "\n")
        else:
            Motion(walker(8), 20.0).save(good / f"walk{suffix}")

        def use(it: Path, suffix=suffix) -> None:
            import_report(it / f"walk{suffix}")
            check(Motion.load(it / f"walk{suffix}"))

        cases.append(with_good(good, use))
    return lambda chance, folder: chance.choice(cases)(chance, folder)


# what is kept between runs


@kind
def token_stores(work: Path) -> Case:
    """A damaged store gives the same tokens as a good one, or an error."""
    from mld.data.sources.opening import build_source
    from mld.training.token_store import token_store
    from tests.models.tiny import tiny_vae, tiny_vqvae
    from tests.training.conftest import write_dataset
    from tests.wild.fuzz.harness import NotRefused

    cfg = DataConfig(source="joints", root=str(write_dataset(work / "data")), min_frames=20, instructions="pretrain")
    source = build_source(cfg, "train")
    made = []
    for name, tokenizer in (("codes", tiny_vqvae()), ("latents", tiny_vae())):
        store = token_store(tokenizer, source, cfg, work / name)
        made.append((work / name, tokenizer, {key: store[key] for key in store}))

    def case(chance: random.Random, folder: Path) -> None:
        good, tokenizer, wanted = chance.choice(made)
        it = linked(good, folder / "it")
        if chance.random() < 0.3:  # one that was never finished
            for path in list(it.iterdir()):
                partial = path.rename(path.with_name(f"{path.name}.partial"))
                (partial / "groups_done").write_text("1")
        damage(it, chance)
        store = token_store(tokenizer, source, cfg, it)
        for name, entry in wanted.items():
            found = store[name]
            pairs = [(found, entry)] if isinstance(entry, torch.Tensor) else [(found[k], entry[k]) for k in entry]
            if not all(torch.equal(a, b) for a, b in pairs):
                raise NotRefused("other tokens than those of the clips")

    return case


@kind
def text_caches(work: Path) -> Case:
    """A damaged cache of text features gives the same features, none, or an error."""
    from mld.models.contracts.text_encoder import TextFeatures
    from mld.models.text_encoders.cache import FeatureCache
    from tests.wild.fuzz.harness import NotRefused

    texts = [f"text {number}" for number in range(40)]
    wanted = {text: TextFeatures(torch.randn(3, 8), torch.randn(8)) for text in texts}
    for start in range(0, 40, 2):
        FeatureCache(work / "good").put({text: wanted[text] for text in texts[start : start + 2]})
    FeatureCache(work / "good")  # writes the index

    def use(it: Path) -> None:
        cache = FeatureCache(it)
        found = cache.get(texts)
        for text, features in found.items():
            if not all(torch.equal(a, b) for a, b in zip(features, wanted[text])):
                raise NotRefused("other features than those of the text")
        cache.put({text: wanted[text] for text in cache.missing(texts)})
        if set(cache.get(texts)) != set(texts):
            raise NotRefused("features are missing")

    return with_good(work / "good", use)


@kind
def run_states(work: Path) -> Case:
    """What an evaluation has finished."""
    from mld.evaluation.state import RunState
    from mld.metrics.results import Score

    def state(folder: Path) -> RunState:
        return RunState(folder, {"data": "x", "seed": 3})

    state(work / "good").put("t2m ours", 0, {"fid": Score(0.5, "", 3)}, seed=1)
    return with_good(work / "good", lambda it: state(it).get("t2m ours", 0))


# what is typed and sent


@kind
def forms(work: Path) -> Case:
    import tasks
    from mld.serve.page.form_input import checked

    known = tasks.forms()
    values = [None, "", 0, -1, 1, 2.5, 1e300, -1e300, float("nan"), float("inf"), 10**400, "7", "x", True, [], {}, [1],
              "\0", "a" * 400, "\u2028", "1e999", "walk.npy", ["walk.npy"], [["x"]], {"path": "x"}, b"x"]  # fmt: skip

    def case(chance: random.Random, folder: Path) -> None:
        def of(good):
            return good if chance.random() < 0.7 else chance.choice(values)

        checked(known, of(chance.choice(list(known))), of("a person walks"), [of(None), of(["walk.npy"])], of(3.0),
                of(1), of(2), of("tiny"))  # fmt: skip

    return case


@kind
def headers(work: Path) -> Case:
    """Requests to the page that no browser sends."""
    import asyncio

    from mld.serve.page.guard import Guard

    (work / "uploads").mkdir()
    good = {"host": "localhost:7860", "origin": "http://localhost:7860", "content-length": "100",
            "sec-fetch-site": "same-origin", "transfer-encoding": "chunked"}  # fmt: skip

    async def app(scope, receive, send) -> None:
        return None

    async def send(message) -> None:
        return None

    def case(chance: random.Random, folder: Path) -> None:
        names = [name for name in good if chance.random() < 0.8]
        found = [(name.encode(), damaged_text(good[name], chance)[:9000] if chance.random() < 0.5 else
                  good[name].encode()) for name in names]  # fmt: skip
        scope = {
            "type": chance.choice(["http", "websocket"]), "headers": found, "method": chance.choice(["GET", "POST"]),
            "path": chance.choice(["/", "/gradio_api/upload", "/gradio_api/queue/join"]),
        }  # fmt: skip
        asyncio.run(Guard(app, chance.choice(["0.0.0.0", "127.0.0.1"]), [], work / "uploads")(scope, None, send))

    return case
