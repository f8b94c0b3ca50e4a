"""Data, what is kept between runs, and what is typed and sent: makers of damaged cases."""

from __future__ import annotations

import functools
import json
import random
from pathlib import Path

import numpy as np
import torch

from mld.data.config import DataConfig
from tests.walking import walker
from tests.wild.fuzz.damage import damage, damaged_text, linked
from tests.wild.fuzz.harness import Case
from tests.wild.fuzz.table import kind, with_good

SUFFIXES = (".npy", ".npz", ".bvh", ".glb", ".gltf", ".csv", ".json", ".pt")

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

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

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
        asyncio.run(Guard(app, chance.choice(["0.0.0.0", "127.0.0.1"]), [], work / "uploads")(scope, receive, send))

    return case
