"""`prepare.convert` for MotionGPT3: import, VAE alone, start point from a GPT-2, and the way back."""

from __future__ import annotations

import json
import shlex

import pytest
import torch

import mld
from commands.common import run
from mld.checkpoint import load_model, save_model
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.conversion.state_dict import read_state_dict
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.model import MotionGPT3
from prepare.convert import main
from tests.models.published_motiongpt3 import SETTINGS, published, published_vae, source, write, write_statistics
from tests.models.tiny import CORPUS, features, tiny_motiongpt, tiny_motiongpt3, tiny_vae
from tests.parity.runners.motiongpt3_lm import byte_tokenizer


def answers(folder) -> list:
    """What a model says: a motion for a text, a text for a motion, a motion of a length of its own."""
    model = mld.load(str(folder))
    walk = model.generate("a person walks.", seconds=2, seed=3)
    return [walk.joints, model.describe(walk), model.generate("someone jumps", seed=1).joints]


def same_answers(a: list, b: list) -> bool:
    return a[1] == b[1] and all(torch.equal(x, y) for x, y in zip(a[::2], b[::2], strict=True))


def test_import(tmp_path, capsys) -> None:
    model = source()
    save_model(model, tmp_path / "own")
    stats, words = write_statistics(tmp_path / "meta", model.tokenizer), tmp_path / "own"
    file = write(tmp_path / "motiongpt3.ckpt", published(model))
    arguments = ["motiongpt3", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]
    arguments += ["--text-tokenizer", str(words), "--set", *SETTINGS]
    assert run(main, [*arguments, "--dry-run"]) == 0 and not (tmp_path / "out").exists()
    assert run(main, [*arguments, "--latent-scale", "0.7152", "--attention-mode", "last1"]) == 0
    printed = capsys.readouterr().out
    assert "missing     0" in printed and "unexpected  0" in printed and "smoke sample: 40 frames" in printed
    loaded = load_model(tmp_path / "out")
    assert float(loaded.tokenizer.latent_scale) == pytest.approx(0.7152)
    assert loaded.config.lm.architecture["attention_mode"] == "last1"
    assert run(main, arguments) == 0
    assert same_answers(answers(tmp_path / "out"), answers(tmp_path / "own"))
    parents = json.loads((tmp_path / "out" / "provenance.json").read_text())["parents"]
    assert [parent["file"] for parent in parents] == ["motiongpt3.ckpt"]


def test_vae(tmp_path, capsys) -> None:
    vae = tiny_vae(latent_scale=0.7152)
    stats = write_statistics(tmp_path / "meta", vae)
    file = write(tmp_path / "mld_humanml3d.ckpt", published_vae(vae, "motion_vae.") | {"denoiser.a": torch.ones(1)})
    arguments = ["vae", str(file), str(tmp_path / "out"), "--as-published", "--stats", str(stats)]
    arguments += ["--latent-scale", "0.7152"]
    assert run(main, [*arguments, "--set", "num_heads=2"]) == 0
    printed = capsys.readouterr().out
    assert "1 by denoiser. (not VAE)" in printed and "smoke sample: 40 frames" in printed
    clip, mask = features(20)[None], torch.ones(1, 20, dtype=torch.bool)
    assert torch.equal(load_model(tmp_path / "out").encode(clip, mask)[0], vae.encode(clip, mask)[0])


@pytest.fixture
def gpt2(tmp_path):
    """A plain GPT-2 with byte-level text, as transformers saves it."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    config = GPT2Config(vocab_size=257, n_embd=32, n_layer=2, n_head=4, n_positions=160, eos_token_id=256)
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "gpt2")
    byte_tokenizer().save_pretrained(str(tmp_path / "gpt2"))
    return model


@pytest.mark.parametrize("branch", ["random", "copy_text"])
@torch.no_grad()
def test_start_point(gpt2, tmp_path, capsys, branch: str) -> None:
    out = tmp_path / "start"
    arguments = ["motiongpt3-init", str(tmp_path / "gpt2"), str(out), "--init-motion-branch", branch]
    assert run(main, arguments) == 0 and "259 rows of text" in capsys.readouterr().out
    config = MotionGPT3Config(lm=TwoBranchConfig(pretrained=str(out), max_length=128))
    model = MotionGPT3.create(config, {"tokenizer": tiny_vae()}, CORPUS).eval()
    ids = torch.tensor([list(b"a person walks")])
    hidden = model.language_model(model.text_embeddings(ids), 0, torch.ones_like(ids, dtype=torch.bool))
    torch.testing.assert_close(model.text_logits(hidden)[..., :257], gpt2(ids).logits, atol=1e-5, rtol=0)
    state = model.language_model.state_dict()
    matrices = [key for key, value in state.items() if ".fn.1." in key and value.dim() == 2]
    copied = [torch.equal(state[key], state[key.replace(".fn.1.", ".fn.0.")]) for key in matrices]
    assert copied and set(copied) == {branch == "copy_text"}
    first = (out / "model.safetensors").read_bytes()
    assert run(main, arguments) == 0 and (out / "model.safetensors").read_bytes() == first


def test_start_points_that_cannot_be(gpt2, tmp_path, capsys) -> None:
    assert run(main, ["motiongpt3-init", str(tmp_path / "none"), str(tmp_path / "out")]) == 2
    assert "no such folder" in capsys.readouterr().err
    tokenizer = load_text_tokenizer(tmp_path / "gpt2")
    tokenizer.add_tokens(["one", "two"])
    tokenizer.save_pretrained(str(tmp_path / "gpt2"))
    assert run(main, ["motiongpt3-init", str(tmp_path / "gpt2"), str(tmp_path / "out")]) == 2
    assert "257 rows of text, but the text tokenizer has 259" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


CASES = {
    "with_guidance": {"guidance_scale": 2.5, "temperature": 0.8, "length_range": [24, 32]},
    "without": {"boundaries": False, "condition_norm": True, "frozen": ["text"], "prompt_style": "upstream_test"},
}


@pytest.mark.parametrize("case", CASES)
def test_there_and_back(case: str, tmp_path, capsys) -> None:
    """The printed command imports the same tensors, which give the same answers; a second export is the same file."""
    model = tiny_motiongpt3(**CASES[case])
    if case == "with_guidance":
        torch.nn.init.normal_(model.fake_latent)
    save_model(model, tmp_path / "own")
    out = tmp_path / "published.ckpt"
    assert run(main, ["motiongpt3-export", str(tmp_path / "own"), str(out)]) == 0
    command = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    assert command[:4] == ["python", "-m", "prepare.convert", "motiongpt3"]
    back = [str(tmp_path / "back") if part == "MODEL" else part for part in command[3:]]
    assert run(main, back) == 0
    ours, theirs = load_model(tmp_path / "own"), load_model(tmp_path / "back")
    one, two = ours.state_dict(), theirs.state_dict()
    assert one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)
    assert same_answers(answers(tmp_path / "own"), answers(tmp_path / "back"))
    state = read_state_dict(out)
    assert ("lm.fake_latent" in state) == (case == "with_guidance")
    assert state.keys() - {"lm.fake_latent"} == published(ours).keys() - {"lm.fake_latent"}
    assert run(main, ["motiongpt3-export", str(tmp_path / "back"), str(tmp_path / "again.ckpt")]) == 0
    again = read_state_dict(tmp_path / "again.ckpt")
    assert again.keys() == state.keys() and all(torch.equal(again[key], state[key]) for key in state)


def test_export_tells_what_it_leaves_out(tmp_path, capsys) -> None:
    save_model(tiny_motiongpt3(length_head=True, holder_layout="clip_major"), tmp_path / "own")
    assert run(main, ["motiongpt3-export", str(tmp_path / "own"), str(tmp_path / "a.ckpt")]) == 0
    printed = capsys.readouterr().out
    assert "length head is left out" in printed and "holder_layout is clip_major" in printed
    assert not any("length" in key for key in read_state_dict(tmp_path / "a.ckpt"))


def test_exports_that_cannot_be(tmp_path, capsys) -> None:
    save_model(tiny_motiongpt("gpt2"), tmp_path / "other")
    assert run(main, ["motiongpt3-export", str(tmp_path / "other"), str(tmp_path / "a.ckpt")]) == 2
    assert "not a motiongpt3 model" in capsys.readouterr().err
    save_model(tiny_motiongpt3(vae=tiny_vae(patch=2)), tmp_path / "own")
    for out, message in (("folder", "name a .ckpt"), ("a.ckpt", "2 frames to a position")):
        assert run(main, ["motiongpt3-export", str(tmp_path / "own"), str(tmp_path / out)]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "a.ckpt").exists()
