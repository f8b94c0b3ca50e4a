"""MotionGPT over a T5 with a sentence-piece pipeline: the piece `▁` before a motion stays, as published."""

from __future__ import annotations

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError
from mld.example import Clip, Text
from mld.models.backbones.text_tokenizer import load_text_tokenizer
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.convert import import_motiongpt
from mld.models.families.motiongpt.model import MotionGPT
from mld.models.families.motiongpt.vocabulary import MotionVocabulary
from tests.models.sentence_piece import BLANK, write_sentence_piece
from tests.models.tiny import CODES, features, tiny_vqvae
from tests.prepare.test_convert import lightning_file, published_lm, published_vae, stats  # noqa: F401

MOTION = f"<motion_id_{CODES}>"
WHOLE, HEAD = Clip(features=features(40)), Clip(features=features(40)[:8])
TAIL = Clip(features=features(40)[32:], start=32)
PROMPTS = {
    "m2t": ((WHOLE,), "text", ["▁Generate", "▁text", ":", BLANK, MOTION]),
    "pred": ((HEAD,), "motion", ["▁Predict", "▁motion", ":", BLANK, MOTION]),
    "inbetween": ((HEAD, TAIL), "motion", ["▁Complete", "▁the", "▁masked", "▁motion", ":", BLANK, MOTION]),
    "instruction": ((Text("Describe this ", True), WHOLE, Text(" please", True)), "text",
                    ["▁Describe", "▁this", BLANK, MOTION]),
    "t2m": ((Text("a person walks"),), "motion", ["▁Generate", "▁motion", ":", "▁a", "▁person", "▁walks"]),
}  # fmt: skip


@pytest.fixture
def language_model(tmp_path):
    """A folder as Flan-T5 is published: gated, with a head of its own."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path / "t5"
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
    config = T5Config(
        **sizes, vocab_size=write_sentence_piece(folder), feed_forward_proj="gated-gelu", tie_word_embeddings=False
    )
    torch.manual_seed(0)
    T5ForConditionalGeneration(config).save_pretrained(str(folder))
    return str(folder)


@pytest.fixture
def trained(language_model):
    config = MotionGPTConfig(lm=LanguageModelConfig(pretrained=language_model, max_length=128))
    return MotionGPT.create(config, {"tokenizer": tiny_vqvae()}, []).eval()


@pytest.fixture
def imported(trained, language_model, tmp_path, stats):  # noqa: F811
    file = lightning_file(tmp_path / "lm.ckpt", {**published_vae(trained.tokenizer), **published_lm(trained)})
    return import_motiongpt(file, stats, text_tokenizer=language_model, as_published=True)[0]


def pieces(model: MotionGPT, task: str) -> list[str]:
    prompt, output, _ = PROMPTS[task]
    return model.vocabulary.tokenizer.convert_ids_to_tokens(model.prompt(prompt, output))


@pytest.mark.parametrize("task", PROMPTS)
def test_prompts_carry_the_blank(trained, imported, tmp_path, task: str) -> None:
    wanted = PROMPTS[task][2]
    again = load_model(save_model(imported, tmp_path / "again"))
    for model in (trained, imported, again):
        found = pieces(model, task)
        assert found[: len(wanted)] == wanted and found.count(BLANK) == (BLANK in wanted)
    assert imported.vocabulary.tokenizer.convert_tokens_to_ids(BLANK) == 3
    assert imported.vocabulary.pad_id == 0 and imported.vocabulary.eos_id == 1


@pytest.mark.parametrize("spaces", [" ", "  ", ""])
def test_a_prompt_in_parts_has_the_ids_of_the_string(imported, spaces: str) -> None:
    words = imported.vocabulary
    string = f"Describe this,{spaces}{MOTION}<motion_id_3><motion_id_{CODES + 1}>{spaces}please.{spaces}"
    first, last = f"Describe this,{spaces}", f"{spaces}please.{spaces}"
    parts = words.text_ids(first, before_motion=True), words.motion_ids([3]), words.text_ids(last, after_motion=True)
    assert words.tokenizer(string, add_special_tokens=False)["input_ids"] == [i for part in parts for i in part]


def test_a_folder_saved_with_the_other_pipeline_stays_as_it_is(imported, language_model, tmp_path) -> None:
    """Its weights were trained, or its answers known, with those ids."""
    from transformers import AutoTokenizer

    before = MotionVocabulary(AutoTokenizer.from_pretrained(language_model), CODES)
    folder = save_model(imported, tmp_path / "older")
    before.save(folder)
    for task, (_, _, wanted) in PROMPTS.items():
        found = pieces(load_model(folder), task)
        assert found[: len(wanted) - 1] == [piece for piece in wanted if piece != BLANK][: len(wanted) - 1]
        assert BLANK not in found


def test_the_pipeline_is_that_of_the_file(language_model) -> None:
    """What `PreTrainedTokenizerFast` gives, which reads the file and nothing else; sentinels are known."""
    from transformers import PreTrainedTokenizerFast

    ours, plain = load_text_tokenizer(language_model), PreTrainedTokenizerFast.from_pretrained(language_model)
    assert len(ours) == len(plain)
    for text in ("a person  walks ", " <extra_id_0> ", "walks<extra_id_1>, then", "", "é\n\ttwice"):
        assert ours(text)["input_ids"] == plain(text)["input_ids"]
        assert ours.decode(ours(text)["input_ids"]) == plain.decode(plain(text)["input_ids"])


def test_a_sentence_piece_model_alone_is_refused(tmp_path) -> None:
    write_sentence_piece(tmp_path)
    (tmp_path / "tokenizer.json").rename(tmp_path / "spiece.model")
    with pytest.raises(CheckpointError, match=r"add its tokenizer\.json"):
        load_text_tokenizer(tmp_path)
