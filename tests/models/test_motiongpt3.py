"""The two-branch model: losses, what is frozen, folders, and answers that do not depend on their batch."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.engine.sampling.autoregressive import sample
from mld.errors import CheckpointError, ConfigError
from mld.example import Clip, Example, Text
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.decoding import TwoBranchRecompute
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.logits import TokenDecoding
from mld.models.registry import find
from tests.models.tiny import CORPUS, SIZES, examples, features, tiny_motiongpt3, tiny_vae, tiny_vqvae

TEXT, CLIP = Text("a person walks forward."), Clip(features=features(40))


@pytest.fixture(scope="module")
def model() -> MotionGPT3:
    return tiny_motiongpt3()


def all_examples() -> list[Example]:
    return [*examples(), Example((Text("how long is a walk?", True),), (Text("40 frames", True),), name="t2t")]


def step(model: MotionGPT3, **optimizer) -> dict[str, torch.Tensor]:
    """One step of AdamW on all tasks; the state before it."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    groups = model.parameter_groups()
    trainer = torch.optim.AdamW([p for group in groups.values() for p in group], lr=1e-2, **optimizer)
    sum(model.train().loss(all_examples()).values()).backward()
    trainer.step()
    model.eval()
    return before


def test_registry_and_parts() -> None:
    assert find("generator", "motiongpt3") is MotionGPT3 and MotionGPT3.at_once()
    names = {name.split(".")[0] for name in tiny_motiongpt3(condition_norm=True, length_head=True).state_dict()}
    assert names == {
        "tokenizer", "language_model", "motion_und_head", "diffloss", "fake_latent", "norm_layer", "length_head",
        "diffusion_pos_embed_learned",
    }  # fmt: skip


def test_training_learns_all_tasks_and_leaves_the_vae_alone() -> None:
    model = tiny_motiongpt3(length_head=True, condition_norm=True).train()
    assert not model.tokenizer.training and not any(p.requires_grad for p in model.tokenizer.parameters())
    before = copy.deepcopy(model.tokenizer.state_dict())
    optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=3e-3)
    first, last = model.eval().loss(all_examples()), None
    for _ in range(25):
        optimizer.zero_grad()
        sum(model.train().loss(all_examples()).values()).backward()
        optimizer.step()
    last = model.eval().loss(all_examples())
    assert set(last) == {"gpt_loss", "diff_loss", "length_loss"} <= set(model.loss_weights)
    assert all(last[name] < 0.8 * first[name] for name in last)
    assert all(torch.equal(value, before[key]) for key, value in model.tokenizer.state_dict().items())


def test_dropout_of_the_vae_is_an_option() -> None:
    assert tiny_motiongpt3(vae_train_dropout=True).train().tokenizer.training
    assert not tiny_motiongpt3(vae_train_dropout=True).eval().tokenizer.training


def test_validation_is_repeatable_and_training_is_not(model: MotionGPT3) -> None:
    assert model.loss(all_examples()) == model.loss(all_examples())
    assert model.train().loss(all_examples())["diff_loss"] != model.loss(all_examples())["diff_loss"]
    model.eval()


def test_no_wanted_motion_no_diffusion_loss(model: MotionGPT3) -> None:
    terms = model.loss(all_examples()[1:2])
    assert terms["diff_loss"] == 0 and terms["gpt_loss"] > 0


@pytest.mark.parametrize("mask_prompt", [False, True])
def test_the_text_loss_is_a_mean_over_tokens_of_all_rows(mask_prompt: bool) -> None:
    """Without padding in it, rows of a batch count as they do alone; padding then need not be computed."""
    model, batch = tiny_motiongpt3(ce_on_padding=False, mask_prompt=mask_prompt), all_examples()
    losses, counts = [], []
    for example in batch:
        losses.append(model.loss([example])["gpt_loss"])
        places = model._latents([part for part in (*example.prompt, *example.target) if isinstance(part, Clip)])
        data = model.collate([model._row(example, places)], model.device)
        labels = model.collate.labels(data, False, not mask_prompt)
        counts.append(int(((labels != -100) & (data.types == 0))[:, 1:].sum()))
    together = model.loss(batch)["gpt_loss"]
    alone = sum(loss * count for loss, count in zip(losses, counts)) / sum(counts)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_padding_in_the_loss_as_published() -> None:
    model = tiny_motiongpt3(ce_on_padding=True)
    model.language_model.transformer["wte"].weight.data[model.vocabulary.eos_id] *= 200
    clean = copy.deepcopy(model)
    clean.adopt(dataclasses.replace(model.config, ce_on_padding=False))
    one = all_examples()[:1]
    assert abs(model.loss(one)["gpt_loss"] - clean.loss(one)["gpt_loss"]) > 0.1
    torch.testing.assert_close(model.loss(one)["diff_loss"], clean.loss(one)["diff_loss"])


def test_ready_posteriors_do_what_encoding_does(model: MotionGPT3) -> None:
    """Mean in evaluation; fresh noise in training, and in evaluation with `sample_latents`."""
    mask = torch.ones(1, 40, dtype=torch.bool)
    posterior = model.tokenizer.posterior(CLIP.features[None], mask)
    ready = Clip(tokens=torch.stack(posterior)[:, 0].detach())
    assert ready.tokens.shape == (2, 1, 16)
    got, want, other = model.tokenize([ready, CLIP, Clip(features=features(9))])
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(want, model.tokenizer.encode(CLIP.features[None], mask)[0][0], atol=1e-5, rtol=1e-5)
    assert other.shape == (1, 16) and torch.equal(model.tokenize([Clip(tokens=got)])[0], got)
    drawn = [model.train()._latents([ready])[id(ready)] for _ in range(200)]
    model.eval()
    spread = torch.stack(drawn).std(0) / (posterior.logvar[0] / 2).exp() / model.tokenizer.latent_scale
    assert (spread - 1).abs().max() < 0.25
    assert not torch.equal(tiny_motiongpt3(sample_latents=True).tokenize([ready])[0], got)


def test_several_latents_per_clip() -> None:
    """tokens_per_clip > 1: every latent of a clip reaches the model, and latents of that shape come out."""
    model = tiny_motiongpt3(vae=tiny_vae(tokens_per_clip=2))
    prompt = model.prompt((CLIP,), "motion")
    condition = model.condition([prompt])
    for which in range(2):
        changed = prompt.given[0].clone()
        changed[which] += 1
        assert (model.condition([dataclasses.replace(prompt, given=(changed,))]) - condition).abs().max() > 1e-4
    assert model.sample(condition, [0]).shape == (1, 2, 16)
    assert torch.isfinite(model.loss(all_examples())["diff_loss"])


@pytest.mark.parametrize("order", ["chunk_major", "clip_major"])
def test_where_two_clips_stand(order: str) -> None:
    """Spec 3.2: chunk_major gives the first holders (clip 0, chunk 0), (clip 1, chunk 0), (clip 0, chunk 1) ..."""
    model = tiny_motiongpt3(holder_layout=order)
    clips = [Clip(tokens=torch.randn(1, 16), start=start) for start in (0, 32)]
    prompts = [model.prompt(parts, "motion") for parts in (clips[:1], clips)]
    batch = model.collate(prompts, model.device)
    places = model.embeddings(batch).flatten(0, 1)[batch.inputs]
    chunks = model.motion_und_head.layers(torch.stack([clip.tokens[0] for clip in clips])).unflatten(1, (4, -1))
    two = chunks.transpose(0, 1) if order == "chunk_major" else chunks
    torch.testing.assert_close(places, torch.cat((chunks[0], two.flatten(0, 1))))


@pytest.mark.parametrize("frozen", [["text"], ["text", "motion"], ["head"], []])
def test_what_is_frozen_stays_to_the_bit(frozen: list[str]) -> None:
    """Also under weight decay. With the text branch frozen, the two boundary rows of its table still learn."""
    model = tiny_motiongpt3(frozen=frozen)
    before = step(model, weight_decay=0.1)
    after, moved = model.state_dict(), set()
    assert set(after) == set(before) and not any("boundary" in key for key in after)
    table = "language_model.transformer.wte.weight"
    groups = {"text": (".fn.0.", ".wpe."), "motion": (".fn.1.", "processors")}
    for key, value in after.items():
        if key != table and not torch.equal(value, before[key]):
            moved.add(next((name for name, parts in groups.items() if any(p in key for p in parts)), "head"))
    assert moved == {"text", "motion", "head"} - set(frozen)
    rows = (after[table] != before[table]).any(1)
    words = model.vocabulary
    expected = {"text": "text" not in frozen, "boundary": not {"text", "motion"} <= set(frozen)}
    assert bool(rows[: words.start_id].any()) == expected["text"]
    assert bool(rows[words.start_id :].all()) == expected["boundary"]
    assert not any(key.startswith("tokenizer.") and not torch.equal(after[key], before[key]) for key in after)


def test_boundary_rows_are_part_of_the_table(tmp_path) -> None:
    """A model with a frozen text branch gives the same numbers after saving, copying and thawing."""
    model = tiny_motiongpt3(frozen=["text"])
    step(model)
    want = model.loss(all_examples())
    save_model(model, tmp_path / "m")
    found = load_model(tmp_path / "m")
    thawed = copy.deepcopy(model)
    thawed.adopt(dataclasses.replace(model.config, frozen=[]))
    assert thawed.boundary_rows is None and len(thawed.parameter_groups()["text"]) > 1
    for other in (found, copy.deepcopy(model), thawed):
        torch.testing.assert_close(other.loss(all_examples()), want)
        torch.testing.assert_close(other.state_dict(), model.state_dict())
    assert len(found.parameter_groups()["text"]) == 1
    outer, other = torch.nn.ModuleDict({"network": model}), torch.nn.ModuleDict({"network": tiny_motiongpt3(1)})
    other["network"].adopt(model.config)
    other.load_state_dict(outer.state_dict())
    assert torch.equal(other["network"].boundary_rows.weight, model.boundary_rows.weight)
    prompt = model.prompt((CLIP,), "text")
    torch.testing.assert_close(found.steps([prompt]).step(None), thawed.steps([prompt]).step(None))


def test_a_later_stage_takes_over_settings_and_keeps_the_structure(tmp_path) -> None:
    model = tiny_motiongpt3(holder_layout="clip_major", input_holders=2)
    save_model(model, tmp_path / "m")
    model = load_model(tmp_path / "m")
    later = MotionGPT3Config(
        lm=TwoBranchConfig(max_length=100, gradient_checkpointing=True), length_head=True, guidance_scale=2.0,
        head=DiffusionHeadConfig(num_inference_steps="5", width=999), frozen=["text"],
    )  # fmt: skip
    model.adopt(later)
    config = model.config
    assert (config.holder_layout, config.input_holders, config.head.width) == ("clip_major", 2, 32)
    assert (config.lm.max_length, config.guidance_scale, model.diffloss.steps) == (100, 2.0, 5)
    assert model.language_model.gradient_checkpointing and "length_loss" in model.train().loss(all_examples())
    save_model(model, tmp_path / "n")
    assert load_model(tmp_path / "n").length_head is not None
    with pytest.raises(CheckpointError, match="text tokenizer"):
        MotionGPT3.restore(config, {})


def test_the_length_head_does_not_change_the_rest() -> None:
    model = tiny_motiongpt3(length_head=True).train()
    model.loss(all_examples())["length_loss"].backward()
    touched = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert touched == {"length_head"}


def test_gradients_do_not_depend_on_checkpointing_and_bf16_works() -> None:
    gradients = []
    for recompute in (False, True):
        lm = TwoBranchConfig(
            architecture={**SIZES["gpt2"], "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0},
            text_vocabulary=320, max_length=128, gradient_checkpointing=recompute,
        )  # fmt: skip
        model = tiny_motiongpt3(lm=lm, condition_dropout=0.0, quote_probability=0.0).train()
        torch.manual_seed(1)
        sum(model.loss(all_examples()).values()).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(gradients[0], gradients[1])
    for frozen in ([], ["text"]):
        model = tiny_motiongpt3(frozen=frozen, length_head=True).train()
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.loss(all_examples())
        sum(terms.values()).backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())


# answers


def test_cached_text_is_uncached_text_alone_and_in_a_batch(model: MotionGPT3) -> None:
    prompts = [model.prompt(parts, "text") for parts in ((CLIP,), (Text("what is it? ", True), CLIP), (TEXT,))]
    grammar, settings = model.grammar("text"), dataclasses.replace(model.settings("text"), max_length=8)

    def said(steps, count: int) -> list[list[int]]:
        answers = sample(TokenDecoding(steps, [grammar] * count, settings), [0] * count)
        return [answer.tokens.tolist() for answer in answers]

    cached = said(model.steps(prompts), 3)
    assert cached == said(TwoBranchRecompute(model, prompts), 3)
    for prompt, ids in zip(prompts, cached):
        assert said(model.steps([prompt]), 1) == [ids]
        assert model.read_text(torch.tensor(ids)) and max(ids) < model.vocabulary.start_id
    decoding, naive = model.steps(prompts), TwoBranchRecompute(model, prompts)
    for ids in (None, torch.tensor([5, 6, 7])):
        torch.testing.assert_close(decoding.step(ids), naive.step(ids), atol=1e-5, rtol=1e-5)
    for one in (decoding, naive):
        one.keep(torch.tensor([0, 2]))
    next_ids = torch.tensor([5, 6])
    torch.testing.assert_close(decoding.step(next_ids), naive.step(next_ids), atol=1e-5, rtol=1e-5)


def test_a_motion_is_the_same_alone_in_a_batch_and_after_captioning(model: MotionGPT3) -> None:
    parts = [(TEXT,), (CLIP,), examples()[3].prompt, (Text("a long story. " * 9),)]
    prompts = [model.prompt(part, "motion") for part in parts]
    together = model.condition(prompts)
    latents = model.sample(together, [3, 4, 5, 6])
    model.steps([model.prompt((CLIP,), "text"), model.prompt((TEXT,), "text")]).step(None)
    for i, prompt in enumerate(prompts):
        alone = model.condition([prompt])
        torch.testing.assert_close(alone[0], together[i], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model.sample(alone, [3 + i])[0], latents[i], atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model.sample(together[:1], [9]), latents[:1])


def test_guidance_moves_away_from_the_condition_of_no_condition() -> None:
    model = tiny_motiongpt3()
    condition = model.condition([model.prompt((TEXT,), "motion")])
    plain = model.sample(condition, [0])
    model.config.guidance_scale = 4.0
    assert (model.sample(condition, [0]) - plain).abs().max() > 1e-4
    same = model.fake_latent[None].detach()
    guided = model.sample(same, [0])
    model.config.guidance_scale = 1.0
    torch.testing.assert_close(model.sample(same, [0]), guided, atol=1e-5, rtol=1e-5)


def test_lengths(model: MotionGPT3) -> None:
    """Named in the text, told by the length head, or drawn; whole units, and the same alone and in a batch."""
    texts = ("walk for 50 frames", "walk 3 seconds", "walk", "run")
    prompts = [model.prompt((Text(text),), "motion") for text in texts]
    condition = model.condition(prompts)
    lengths = model.frames(prompts, condition, [1, 2, 3, 4])
    assert lengths[:2] == [50, 60] and all(n % 4 == 0 and 80 <= n <= 200 for n in lengths[2:])
    assert model.frames(prompts[2:3], condition[2:3], [3]) == lengths[2:3]
    assert len({model.frames(prompts[2:3], condition[2:3], [seed])[0] for seed in range(9)}) > 3
    teller = tiny_motiongpt3(length_head=True)
    assert teller.frames(prompts[2:3], condition[2:3], [3]) == teller.frames(prompts[2:3], condition[2:3], [4])
    teller.length_head.layers[-1].bias.data += 20
    assert teller.frames(prompts[2:3], condition[2:3], [3]) == [teller.tokenizer.layout.longest]


def test_the_length_is_named_where_the_model_was_told_lengths() -> None:
    assert "with 60 frames" in tiny_motiongpt3(length_prompt_probability=0.5).prompt((TEXT,), "motion", 60).text
    assert "60" not in tiny_motiongpt3().prompt((TEXT,), "motion", 60).text
    assert tiny_motiongpt3().longest_prompt("motion") == 128 and tiny_motiongpt3().longest_prompt("text") == 120


def test_what_does_not_fit() -> None:
    with pytest.raises(ConfigError, match="not 'vqvae'"):
        MotionGPT3.create(MotionGPT3Config(), {"tokenizer": tiny_vqvae()}, CORPUS)
    with pytest.raises(ConfigError, match=r"lm\.max_length is 192, the language model has 160 positions"):
        tiny_motiongpt3(lm=TwoBranchConfig(architecture=SIZES["gpt2"], text_vocabulary=300))


@pytest.mark.parametrize("start", ["random", "copy_text"])
def test_a_model_begun_from_gpt2_writes_what_gpt2_writes(start: str, tmp_path) -> None:
    """Text in, text out: to the text branch nothing has changed, whatever the motion branch begins with."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from mld.models.backbones.text_tokenizer import train_causal_tokenizer

    tokenizer = train_causal_tokenizer(CORPUS * 2, 300)
    torch.manual_seed(0)
    sizes = {**SIZES["gpt2"], "vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = GPT2LMHeadModel(GPT2Config(**sizes)).eval()
    gpt2.save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(str(tmp_path / "gpt2"))
    lm = TwoBranchConfig(pretrained=str(tmp_path / "gpt2"), init_motion_branch=start, max_length=128)
    model = tiny_motiongpt3(lm=lm)
    prompts = [model.prompt((TEXT,), "text"), model.prompt((Text("jump", True),), "text")]
    with torch.no_grad():
        want = torch.cat([gpt2(torch.tensor([prompt.ids])).logits[:, -1] for prompt in prompts])
    got = model.steps(prompts).step(None)
    assert got.shape[1] == len(tokenizer) + 2
    torch.testing.assert_close(got[:, :-2], want, atol=1e-5, rtol=1e-5)
    branches = [model.language_model.transformer["h"][0].c_attn.fn[i].weight for i in range(2)]
    assert torch.equal(*branches) == (start == "copy_text")
