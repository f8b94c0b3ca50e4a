"""Texts rewritten by a language model of the user's: greedy, out of brackets, the text itself where there are none."""

from __future__ import annotations

import gc
import json
import warnings
import weakref
from pathlib import Path

import pytest
import torch

from commands import demo
from commands.common import run
from mld.checkpoint import save_model
from mld.engine import rewriting
from mld.engine.pipeline import Noted, Pipeline
from mld.engine.rewriting import Rewritten, bracketed, rewrite
from mld.errors import CheckpointError
from mld.evaluation.rating.sheet import read_sheet
from prepare import rating
from tests.models.tiny import tiny_motiongpt

SAID = ["[", "someone", "waves", "slowly", "]"]
WORDS = ["<pad>", "<end>", "unknown", ":", "go", *SAID, "and", "more"]
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %} go"


def write_language_model(folder: Path, answers: bool, template: str | None = None) -> str:
    """A tiny GPT-2 on disk. answers: it says `[someone waves slowly]` after `:` or `go`, word after word; else its
    weights are random."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="unknown"))
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+|(?=[\[\]:])|(?<=[\[\]:])"), "removed")
    fast = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>", unk_token="unknown")
    fast.chat_template = template
    fast.save_pretrained(str(folder))
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(WORDS), n_embd=16, n_layer=1, n_head=2, n_positions=256, bos_token_id=1,
                        eos_token_id=1, tie_word_embeddings=False)  # fmt: skip
    model = GPT2LMHeadModel(config)
    if answers:
        chain = [WORDS.index(word) for word in (":", *SAID)] + [WORDS.index("<end>")]
        model.transformer.wpe.weight.data.zero_()
        model.transformer.h[0].attn.c_proj.weight.data.zero_()
        model.transformer.h[0].mlp.c_proj.weight.data.zero_()
        table = torch.linalg.qr(torch.randn(16, 16))[0][: len(WORDS)]
        table[WORDS.index("go")] = table[WORDS.index(":")]
        model.transformer.wte.weight.data.copy_(table)
        model.lm_head.weight.data.zero_()
        for now, then in zip(chain, chain[1:]):
            model.lm_head.weight.data[then] = table[now]
    model.save_pretrained(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def answering(tmp_path_factory) -> str:
    return write_language_model(tmp_path_factory.mktemp("llm") / "answers", True)


@pytest.fixture(scope="module")
def silent(tmp_path_factory) -> str:
    return write_language_model(tmp_path_factory.mktemp("llm") / "random", False)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_model(tiny_motiongpt(), tmp_path_factory.mktemp("model") / "tiny", {}))


def test_what_stands_in_brackets() -> None:
    assert bracketed("Sure: [ A man \n waves. ] or [B]") == "A man waves."
    assert bracketed("{a} then [b]") == "b" and bracketed('{"a man runs"}') == "a man runs"
    assert bracketed("[a #6s <motion> | b\x07]") == "a 6s motion b"
    assert bracketed("none") == bracketed("[]") == bracketed("[12 3]") == bracketed("[" + "a" * 601 + "]") == ""


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_an_answer_in_brackets_takes_the_place_of_the_text(template: str | None, tmp_path: Path) -> None:
    folder = write_language_model(tmp_path / "llm", True, template)
    state, told = torch.random.get_rng_state(), []
    found = rewrite(["wave", "hello there", "wave"], folder, on_text=told.append)
    assert found == [Rewritten(text, "someone waves slowly") for text in ("wave", "hello there", "wave")]
    assert told == found[:2], "equal texts are asked once"
    assert torch.equal(torch.random.get_rng_state(), state), "nobody else's random numbers change"


def test_without_brackets_the_text_stays_and_it_is_told(silent: str) -> None:
    one, two = rewrite(["wave"], silent), rewrite(["wave"], silent)
    assert one == two and one[0].said == "wave"
    assert "'wave' stays as it is: the rewriter's answer has no text in brackets" in one[0].note


def test_its_memory_is_free_afterwards(answering: str, monkeypatch) -> None:
    opened = []

    def load(folder: Path):
        made = real(folder)
        opened.append(weakref.ref(made[0]))
        return made

    real = rewriting.load_language_model
    monkeypatch.setattr(rewriting, "load_language_model", load)
    rewrite(["wave"], answering)
    gc.collect()
    assert len(opened) == 1 and opened[0]() is None


def test_folders_that_are_none(tmp_path: Path, answering: str) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json there"):
        rewrite(["wave"], tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no causal language model can be read"):
        rewrite(["wave"], tmp_path)
    broken = write_language_model(tmp_path / "template", True, "{{ nothing.at.all }}")
    with pytest.raises(CheckpointError, match="its chat template fails"):
        rewrite(["wave"], broken)


def test_the_demo_shows_and_keeps_both_texts(answering: str, model: str, tmp_path: Path, capsys, monkeypatch) -> None:
    order = []
    real, load = rewriting.rewrite, Pipeline.load
    monkeypatch.setattr(rewriting, "rewrite", lambda *a, **k: order.append("rewrite") or real(*a, **k))
    monkeypatch.setattr(Pipeline, "load", lambda *a, **k: order.append("open") or load(*a, **k))
    out = tmp_path / "out"
    arguments = ["--model", model, "--text", "wave#12", "--out", str(out), "--format", "npy", "--device", "cpu"]
    assert run(demo.main, [*arguments, "--rewrite", answering]) == 0
    assert order == ["rewrite", "open"]
    assert "'wave' is asked as 'someone waves slowly'" in capsys.readouterr().err
    (entry,) = json.loads((out / "index.json").read_text())["results"]
    assert (entry["prompt"], entry["original"], entry["frames"]) == ("someone waves slowly", "wave", 12)
    assert (out / entry["files"][0]).read_text() == "someone waves slowly\n"
    assert run(demo.main, [*arguments, "--task", "m2t", "--rewrite", answering]) == 2
    assert "--rewrite is for texts that become motion" in capsys.readouterr().err
    assert run(demo.main, [*arguments[:-4], "--out", str(tmp_path / "plain"), "--device", "cpu"]) == 0
    assert order == ["rewrite", "open", "open"], "it is opened only when asked for"


def test_a_sheet_asks_the_rewritten_text_and_shows_the_prompt(answering: str, model: str, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("wave\n")
    command = ["make", str(tmp_path / "prompts.txt"), "--model", model, "--seconds", "0.4", "--device", "cpu"]
    command += ["--out", str(tmp_path / "out")]
    assert run(rating.main, [*command, "--rewrite", answering]) == 0
    (entry,) = read_sheet(tmp_path / "out")["prompts"]
    assert (entry["text"], entry["asked"]) == ("wave", "someone waves slowly")
    assert (tmp_path / "out" / entry["folder"] / "prompt.txt").read_text() == "wave\nasked: someone waves slowly\n"
    assert "someone waves" not in (tmp_path / "out/rating.html").read_text()
    assert run(rating.main, command) == 2, "without the rewriter it is another sheet"


def test_in_python(answering: str) -> None:
    pipeline = Pipeline(tiny_motiongpt())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        motion = pipeline.generate("wave", 0.6, rewrite=answering)
        again = pipeline.generate("someone waves slowly", 0.6)
    assert torch.equal(motion.joints, again.joints)
    assert any(w.category is Noted and "is asked as" in str(w.message) for w in said)
