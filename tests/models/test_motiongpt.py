"""MotionGPT on both backbones: vocabulary, the untied head, losses, caches, pretrained folders."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Text
from mld.models.backbones.layers import Recompute, grown
from mld.models.backbones.text_tokenizer import load_text_tokenizer, train_text_tokenizer
from mld.models.families.motiongpt.config import LanguageModelConfig, MotionGPTConfig
from mld.models.families.motiongpt.model import MotionGPT
from mld.models.families.motiongpt.vocabulary import MotionVocabulary
from mld.models.registry import find
from tests.models.tiny import CODES, CORPUS, SIZES, examples, features, tiny_motiongpt, tiny_vqvae

BACKBONES = ("t5", "gpt2")


@pytest.fixture(scope="module", params=BACKBONES)
def model(request) -> MotionGPT:
    return tiny_motiongpt(request.param)


def test_registry_finds_families() -> None:
    assert find("generator", "motiongpt") is MotionGPT
    with pytest.raises(ConfigError, match="did you mean 'motiongpt'"):
        find("generator", "motiongtp")


@pytest.mark.parametrize("text", ["a person walks forward, then stops.", 'he says "go" twice - 120 times (é)!', "x"])
def test_text_comes_back_clean(text: str, tmp_path) -> None:
    tokenizer = train_text_tokenizer(CORPUS, 300)
    tokenizer.save_pretrained(str(tmp_path))
    for words in (MotionVocabulary(tokenizer, CODES), MotionVocabulary(load_text_tokenizer(tmp_path), CODES)):
        assert words.decode(words.text_ids(text)) == text


def test_ids_equal_those_of_the_string(model: MotionGPT) -> None:
    words = model.vocabulary
    string = f"Predict motion: <motion_id_{CODES}><motion_id_3><motion_id_{CODES + 1}> done."
    direct = [*words.text_ids("Predict motion: "), *words.motion_ids([3]), *words.text_ids(" done.")]
    assert words.tokenizer(string, add_special_tokens=False)["input_ids"] == direct
    assert "<motion_id_3>" in words.decode(direct), "motion tokens are not special: decoding keeps them"


def test_vocabulary_order() -> None:
    """Sentinels fall towards the motion tokens: `<extra_id_0>` is the last text token, as in T5."""
    words = tiny_motiongpt().vocabulary
    assert words.size == words.text_size + CODES + 3
    assert words.tokenizer.convert_ids_to_tokens(words.first_sentinel) == "<extra_id_0>"
    assert not words.text_mask()[words.first_sentinel] and not words.text_mask()[words.text_size :].any()
    with pytest.raises(CheckpointError, match="another codebook"):
        MotionVocabulary(words.tokenizer, CODES + 1)


def test_head_and_embedding_are_two_matrices() -> None:
    """transformers 5 would tie them; a step of training must move them apart and resizing must not join them."""
    lm = tiny_motiongpt("t5").lm
    assert lm.lm_head.weight.data_ptr() != lm.shared.weight.data_ptr()
    assert (lm.lm_head.weight - lm.shared.weight).abs().max() > 0.1
    lm.resize(lm.architecture["vocab_size"] + 5, "mean")
    assert len(lm.lm_head.weight) == len(lm.shared.weight) == lm.architecture["vocab_size"]
    assert lm.lm_head.weight is not lm.shared.weight
    assert lm.encoder.embed_tokens.weight is lm.decoder.embed_tokens.weight is lm.shared.weight


def test_new_rows() -> None:
    old = torch.randn(50, 8) + 3
    assert torch.equal(grown(old, 60, "mean", 1.0)[:50], old)
    assert (grown(old, 60, "mean", 1.0)[50:] - old.mean(0)).abs().max() < 1e-2
    assert abs(grown(old, 500, "normal", 0.5)[50:].std() - 0.5) < 0.05
    assert torch.equal(grown(old, 10, "mean", 1.0), old[:10])
    with pytest.raises(ConfigError, match="new_token_init"):
        grown(old, 60, "zeros", 1.0)


def test_training_learns_all_tasks_and_leaves_the_tokenizer_alone(model: MotionGPT) -> None:
    torch.manual_seed(0)
    model.train()
    assert not model.tokenizer.training and not any(p.requires_grad for p in model.tokenizer.parameters())
    before = model.tokenizer.quantizer.codebook.clone()
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    for _ in range(10):
        loss = model.loss(examples())["gpt_loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    assert losses[-1] < 0.8 * losses[0]
    assert torch.equal(model.tokenizer.quantizer.codebook, before)


def test_evaluation_loss_is_repeatable() -> None:
    model = tiny_motiongpt(quote_probability=0.5, unsupervised_ratio=0.5, length_prompt_probability=0.5)
    assert model.loss(examples()) == model.loss(examples())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_unsupervised_examples(backbone: str) -> None:
    """T5: the prompt is the segment with sentinels in place of spans. GPT-2: the plain sequence."""
    model = tiny_motiongpt(backbone, unsupervised_ratio=1.0).train()
    words, example = model.vocabulary, examples()[0]
    prompt, answer, _ = model._training_pair(example, {id(example.target[0]): torch.arange(10)})
    assert torch.isfinite(model.loss(examples())["gpt_loss"])
    if backbone == "gpt2":
        assert not prompt and words.decode(answer)
    else:
        assert words.first_sentinel in prompt and answer[0] == words.first_sentinel


def test_batch_loss_ignores_padding(model: MotionGPT) -> None:
    """A mean over tokens (T5: of the answers, GPT-2: of whole rows but the first one): neither rows of other lengths
    nor padding change what a row adds."""
    batch = examples()
    alone = [model.loss([one])["gpt_loss"] for one in batch]
    clips = [part for one in batch for part in (*one.prompt, *one.target) if isinstance(part, Clip)]
    codes = dict(zip(map(id, clips), model.tokenize(clips)))
    pairs = [model._training_pair(one, codes) for one in batch]
    counts = [len(answer) + 1 for _, answer, _ in pairs]  # with the end of sequence
    if model.lm.needs_separator:
        counts = [len(prompt) + len(model.separator) + count - 1 for (prompt, _, _), count in zip(pairs, counts)]
    assert len(set(counts)) > 2
    expected = sum(loss * count for loss, count in zip(alone, counts)) / sum(counts)
    torch.testing.assert_close(model.loss(batch)["gpt_loss"], expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_decoding_equals_recomputing(model: MotionGPT) -> None:
    """Rows of different prompt lengths, rows leaving on the way."""
    prompts = [model.prompt(e.prompt, "motion", 40) for e in examples()]
    cached, naive, ids = model.steps(prompts), Recompute(model.lm, prompts), None
    generator = torch.Generator().manual_seed(0)
    for step in range(14):
        got, want = cached.step(ids), naive.step(ids)
        torch.testing.assert_close(got, want, atol=2e-4, rtol=1e-4)
        if step in (4, 9):
            rows = torch.arange(0, len(got), 2)
            cached.keep(rows)
            naive.keep(rows)
            got = got[rows]
        ids = torch.randint(model.vocabulary.size, (len(got),), generator=generator)


@torch.no_grad()
def test_prompt_of_a_row_does_not_depend_on_its_batch(model: MotionGPT) -> None:
    prompts = [model.prompt(e.prompt, "text") for e in examples()]
    together = model.steps(prompts).step(None)
    for prompt, row in zip(prompts, together):
        torch.testing.assert_close(model.steps([prompt]).step(None)[0], row, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("frames", [None, 80])
def test_requests_are_worded_like_the_training_templates(frames: int | None) -> None:
    """A caption alone gives the ids of the whole template filled in, text taken in one piece."""
    named = tiny_motiongpt(length_prompt_probability=0.5)
    template = "Generate motion: " if frames is None else f"Generate motion with {frames} frames: "
    for caption in ("a person walks.", '"a person" walks'):
        filled = Text(template + caption, verbatim=True)
        assert named.prompt((Text(caption),), "motion", frames) == named.prompt((filled,), "motion", frames)


def test_gap_becomes_hidden_codes(model: MotionGPT) -> None:
    head, tail = Clip(tokens=torch.tensor([1, 2])), Clip(tokens=torch.tensor([3]), start=20)
    ids = model.prompt((head, tail), "motion")
    words = model.vocabulary
    motion = ids[ids.index(words.start_id) : ids.index(words.end_id) + 1]
    codes = [i - words.text_size for i in motion]
    assert codes == [CODES, 1, 2, CODES + 2, CODES + 2, CODES + 2, 3, CODES + 1]


def test_answers_are_read_with_every_fallback(model: MotionGPT) -> None:
    words = model.vocabulary
    codes, end = words.code_ids([5, 6]), words.end_id
    assert model.read_motion(torch.tensor([words.start_id, *codes, end, *words.code_ids([7])])).tolist() == [5, 6]
    cut_off = torch.tensor([words.start_id, codes[0], words.mask_id, codes[1]])
    assert model.read_motion(cut_off).tolist() == [5, 6]
    assert model.read_motion(torch.tensor(words.text_ids("no motion"))).tolist() == []
    assert model.read_text(torch.tensor(words.text_ids('"a person walks"'))) == "a person walks"
    mixed = torch.tensor([*words.text_ids("so:"), words.start_id, *codes, end])
    assert model.read_text(mixed) == "so:<Motion_Placeholder>"


def test_length_is_named_when_trained_for(model: MotionGPT) -> None:
    plain = tiny_motiongpt()
    named = tiny_motiongpt(length_prompt_probability=0.5)
    legacy = tiny_motiongpt(length_prompt_probability=0.5, legacy_token_lengths=True)
    found = [m.vocabulary.decode(m.prompt((Text("go"),), "motion", 80)) for m in (plain, named, legacy)]
    assert found == [
        "generate motion: go", "generate motion with 80 frames: go", "generate motion with 20 frames: go",
    ]  # fmt: skip


@pytest.mark.parametrize("backbone", BACKBONES)
def test_pretrained_folder(backbone: str, tmp_path) -> None:
    """Start from a folder as the libraries write it; for T5 with a head that differs from the embedding."""
    import transformers

    tokenizer = train_text_tokenizer(CORPUS, 300)
    tokenizer.save_pretrained(str(tmp_path))
    if backbone == "t5":
        config = transformers.T5Config(vocab_size=len(tokenizer) + 12, feed_forward_proj="gated-gelu", **SIZES["t5"])
        weights = dict(transformers.T5ForConditionalGeneration(config).state_dict())
        weights["lm_head.weight"] = torch.randn_like(weights["shared.weight"])
        description = {**config.to_dict(), "tie_word_embeddings": False}
    else:
        config = transformers.GPT2Config(vocab_size=len(tokenizer), **SIZES["gpt2"])
        weights = dict(transformers.GPT2LMHeadModel(config).state_dict())
        description = config.to_dict()
    save_file({key: value.clone() for key, value in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(description))
    lm = LanguageModelConfig(backbone=backbone, pretrained=str(tmp_path))
    model = MotionGPT.create(MotionGPTConfig(lm=lm), {"tokenizer": tiny_vqvae()}, [])
    rows = len(tokenizer)
    if backbone == "t5":
        assert torch.equal(model.lm.shared.weight[:rows], weights["shared.weight"][:rows])
        assert torch.equal(model.lm.lm_head.weight[:rows], weights["lm_head.weight"][:rows])
        assert model.lm.architecture["scale_decoder_outputs"] is False
    else:
        assert torch.equal(model.lm.transformer.wte.weight[:rows], weights["transformer.wte.weight"])
    assert model.vocabulary.size == rows + CODES + 3
    assert torch.isfinite(model.loss(examples())["gpt_loss"])


@torch.no_grad()
def test_t5_equals_the_library(tmp_path) -> None:
    """With the same weights and a tied head the logits are those of transformers' own T5."""
    import transformers

    config = transformers.T5Config(vocab_size=60, **SIZES["t5"])
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    from mld.models.backbones.t5 import T5Backbone

    weights = T5Backbone.prepare_weights(theirs.state_dict())
    ours = T5Backbone(T5Backbone.architecture_of(config.to_dict() | {"tie_word_embeddings": True}, weights), 0).eval()
    ours.load_state_dict(weights)
    ids, answer = torch.randint(2, 60, (2, 7)), torch.randint(2, 60, (2, 5))
    want = theirs(input_ids=ids, decoder_input_ids=torch.cat((torch.zeros(2, 1).long(), answer), 1)).logits
    torch.testing.assert_close(ours(ids, torch.ones_like(ids), answer), want, atol=1e-4, rtol=1e-4)


def test_mistakes_are_named(tmp_path) -> None:
    def create(**lm) -> None:
        MotionGPT.create(MotionGPTConfig(lm=LanguageModelConfig(**lm)), {"tokenizer": tiny_vqvae()}, CORPUS)

    with pytest.raises(ConfigError, match="t5, gpt2"):
        create(backbone="bert")
    with pytest.raises(ConfigError, match="d_modle"):
        create(architecture={"d_modle": 3})
    with pytest.raises(CheckpointError, match="config.json"):
        create(pretrained=str(tmp_path))
    with pytest.raises(CheckpointError, match="no such folder"):
        create(pretrained=str(tmp_path / "nothing"))


def test_features_are_encoded_where_tokens_are_missing(model: MotionGPT) -> None:
    clips = [Clip(features=features(40)), Clip(tokens=torch.tensor([1, 2])), Clip(features=features(21, 1))]
    codes = model.tokenize(clips)
    assert [len(row) for row in codes] == [10, 2, 5]
    assert torch.equal(codes[2], model.tokenize(clips[2:])[0])


@pytest.mark.parametrize("backbone", ["t5", "gpt2"])
def test_corrupted_input_changes_what_is_seen_not_what_is_learnt(backbone: str) -> None:
    model = tiny_motiongpt(backbone, input_corruption=0.9)
    answer = [*model.vocabulary.motion_ids(torch.arange(20)), model.vocabulary.eos_id]
    assert model.eval()._corrupted(answer) == answer
    torch.manual_seed(0)
    seen = model.train()._corrupted(answer)
    first = model.vocabulary.text_size
    assert seen != answer and len(seen) == len(answer)
    assert seen[0] == answer[0] and seen[-2:] == answer[-2:], "start, end and end of sequence stay"
    assert all(first <= i < first + model.vocabulary.codebook_size for i in seen[1:-2])
    model.eval()
    prompt = model.prompt((Text("a person walks"),), "motion")
    clean, noisy = (model.lm.loss([prompt], [answer], [shown]).item() for shown in (answer, seen))
    assert clean != noisy


@pytest.mark.parametrize("known", [True, False])
def test_code_of_a_tokenizer_is_never_run(known: bool, tmp_path, capsys, monkeypatch) -> None:
    """Nobody is asked, whatever the folder says; what can be read without the code is read."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("somebody was asked"))
    train_text_tokenizer(CORPUS, 300).save_pretrained(tmp_path)
    file, mark = tmp_path / "tokenizer_config.json", tmp_path / "ran"
    (tmp_path / "own.py").write_text(f"open({str(mark)!r}, 'w')\nclass Own: pass\n")
    described = json.loads(file.read_text()) | {"auto_map": {"AutoTokenizer": ["own.Own", None]}}
    file.write_text(json.dumps(described if known else described | {"tokenizer_class": "Own"}))
    if known:
        assert load_text_tokenizer(tmp_path).encode("a person")
        assert "names code of its own (tokenizer_config.json), which was not run" in capsys.readouterr().err
    else:
        with pytest.raises(CheckpointError, match="which is never run"):
            load_text_tokenizer(tmp_path)
    assert not mark.exists()
