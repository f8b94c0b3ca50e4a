"""Parity of the MotionGPT3 model: rows, losses, captioning with a cache, and motions from the head.

Rows are built from the stored strings by the product's own layout and must have the stored ids.
"""

from __future__ import annotations

import re

import torch

from mld.engine.sampling.autoregressive import sample
from mld.example import Clip, Segment, Text
from mld.models.families.motiongpt3.config import MotionGPT3Config, TwoBranchConfig
from mld.models.families.motiongpt3.layout import Prompt, Row
from mld.models.families.motiongpt3.model import MotionGPT3
from mld.models.families.motiongpt3.start_point import without_copies
from mld.models.families.motiongpt3.vocabulary import HolderVocabulary
from mld.models.generation import GenerationSettings
from mld.models.heads.diffusion import DiffusionHeadConfig
from mld.models.logits import TokenDecoding
from mld.models.tokenizers.vae import MotionVAE, MotionVAEConfig
from tests.parity.harness import Case, runner
from tests.parity.runners.motiongpt3_backbone import load_backbone

WANTED = re.compile(r"(<start_of_motion>(<motion_latent_holder_output>)+<end_of_motion>)?(<\|endoftext\|>)?$")
MOTION = re.compile(r"<start_of_motion>(?:<motion_latent_holder(?:_output)?>)+<end_of_motion>|(?:<masked_motion>)+")


def byte_tokenizer():
    """Byte b has id b; `<|endoftext|>` is 256."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    symbols = {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}
    tokenizer = Tokenizer(models.BPE(vocab=symbols, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def load(case: Case) -> MotionGPT3:
    c, h = case.config, case.config["head"]
    assert c["motion_holder_seq_mode"] == "withse" and c["with_vae_latent_norm"]
    head = DiffusionHeadConfig(
        width=h["width"], depth=h["depth"], pooling=h["multi_hidden"], num_pooling_heads=h["condition_heads"],
        noise_schedule=h["noise_schedule"], num_inference_steps=h["num_sampling_steps"], learn_sigma=h["learn_sigma"],
    )  # fmt: skip
    config = MotionGPT3Config(
        lm=TwoBranchConfig(max_length=c["max_length"]), head=head, input_holders=c["holder_num_in_input"],
        output_holders=c["motion_holder_repeat"], condition_norm=c["with_hid_norm"], ce_on_padding=True,
        diffusion_batch_mul=c["diffusion_batch_mul"], condition_dropout=c.get("uncond_p", 0.1),
        guidance_scale=c.get("cfg_scale", 1.0), temperature=c.get("temperature", 1.0),
    )  # fmt: skip
    sizes = MotionVAEConfig(
        latent_channels=c["latent_channels"], ff_size=32, num_layers=1, num_heads=2, latent_scale=c["mean_std_inv"]
    )
    vocabulary, lm = HolderVocabulary(byte_tokenizer()), load_backbone(case, "language_model.")
    model = MotionGPT3(config, MotionVAE(sizes), vocabulary, lm)
    words = model.vocabulary
    assert (words.size, words.eos_id) == (c["vocab_size"], c["text_pad_id"])
    assert (words.mask_id, words.pad_motion_id) == (c["masked_id"], c["pad_motion_id"])
    for name in ("start_id", "end_id", "output_id", "input_id"):
        stored = {"start_id": "som_id", "end_id": "eom_id", "output_id": "holder_out_id", "input_id": "holder_in_id"}
        assert getattr(words, name) == int(case.arrays[stored[name]])
    own = {key: value for key, value in model.state_dict().items() if key.startswith(("tokenizer.", "language_model."))}
    rest = {key: value for key, value in case.state_dict.items() if not key.startswith("language_model.")}
    model.load_state_dict(without_copies({**own, **rest}))
    return model.train(case.config["mode"] == "train")


def segments(text: str, latents: list[torch.Tensor], places: dict[int, torch.Tensor]) -> list[Segment]:
    """Text and clips of a stored string; latents are taken one after the other and put into `places`."""
    found: list[Segment] = []
    at, start = 0, 0
    for match in MOTION.finditer(text):
        if match.start() > at:
            found.append(Text(text[at : match.start()], verbatim=True))
        if match[0].startswith("<masked"):
            start += 100  # frames between two clips
        else:
            found.append(Clip(start=start))
            places[id(found[-1])] = latents.pop(0)
        at = match.end()
    return found + ([Text(text[at:], verbatim=True)] if at < len(text) else [])


def latents_of(case: Case) -> list[list[torch.Tensor]]:
    counts = case.arrays["latent_counts"].tolist()
    return [list(part) for part in case.tensor("latents").split(counts)]


def same_ids(case: Case, rows: list[Row] | list[Prompt], end: tuple[int, ...] = ()) -> None:
    """The stored ids, without their padding, are those of the rows."""
    mask = case.tensor("attention_mask", torch.bool)
    for row, ids, real in zip(rows, case.tensor("raw_ids"), mask, strict=True):
        assert [*row.ids, *end] == ids[real].tolist()


@runner("motiongpt3.lm.train")
@torch.no_grad()
def train(case: Case) -> dict:
    model = load(case)
    places: dict[int, torch.Tensor] = {}
    rows, kept = [], []
    for text, latents in zip(case.arrays["texts"].tolist(), latents_of(case), strict=True):
        prompt, target = text.removesuffix("<|endoftext|>").split(" \n ")
        kept.append([segments(side, latents, places) for side in (prompt, target)])
        rows.append(model.layout.row(*kept[-1], places))
    same_ids(case, rows)
    assert [len(row.given) for row in rows] == case.arrays["n_in"].tolist()
    assert [len(row.wanted) for row in rows] == case.arrays["n_out"].tolist()
    batch = model.collate(rows, model.device, case.config["max_length"])
    hidden = model.hidden(batch, padding=True)
    conditions, labels = model.conditions(batch, hidden), model.collate.labels(batch, padding=True, prompt=True)
    drop = case.tensor("drop_uniform") < float(case.arrays["uncond_p"])
    copies = model.config.diffusion_batch_mul
    packed, motion = model.embeddings(batch), batch.types[..., None] == 1
    lm, pads = model.language_model, torch.full_like(batch.ids, model.vocabulary.eos_id)
    return {
        "type_ids": batch.types, "labels": labels,
        "embeds_text": torch.where(motion, lm.embed(pads, 0), packed),
        "embeds_motion": torch.where(motion, packed, lm.embed(torch.ones_like(pads), 1)),
        "hidden_text": hidden, "hidden_motion": hidden,
        "logits_text": model.text_logits(hidden), "logits_motion": lm.motion_logits(hidden),
        "gpt_loss": model.text_loss(batch, hidden, labels),
        "z_repeated": model.dropped(conditions.repeat(copies, 1, 1), drop),
        "target_repeated": batch.wanted.repeat(copies, 1, 1),
        "diff_loss": model.diffusion_loss(conditions, batch.wanted, drop, case.tensor("t"), case.tensor("noise")),
    }  # fmt: skip


def prompts(case: Case, model: MotionGPT3, output: str) -> list[Prompt]:
    """The stored prompts; those with two separators are in the style of the published tests."""
    found = []
    for text, latents in zip(case.arrays["prompts"].tolist(), latents_of(case), strict=True):
        body = WANTED.sub("", text)
        separators = body.count(" \n")
        model.config.prompt_style = ("train", "upstream_test")[separators - 1]
        body = body.removesuffix(" ") if output == "motion" else body
        body = body.removesuffix(" \n" * separators)
        places: dict[int, torch.Tensor] = {}
        parts = segments(body, latents, places)
        found.append(model.layout.prompt(parts, output, places))
    return found


@runner("motiongpt3.lm.generate")
@torch.no_grad()
def generate(case: Case) -> dict:
    model = load(case)
    asked = prompts(case, model, "text")
    same_ids(case, asked)
    length = case.config["max_length"]
    positions: list[torch.Tensor] = []
    hook = model.language_model.register_forward_pre_hook(lambda module, inputs: positions.append(inputs[3]))
    decoding = model.steps(asked)
    decoding = type(decoding)(model, model.collate(asked, model.device, length, left=True))
    batch, steps, take = decoding.batch, [], decoding.step

    def recorded(ids):
        steps.append(take(ids))
        return steps[-1].clone()

    decoding.step = recorded
    settings = GenerationSettings(
        do_sample=case.config["do_sample"], repetition_penalty=case.config["repetition_penalty"],
        max_length=case.config["max_new_tokens"],
    )  # fmt: skip
    answers = sample(TokenDecoding(decoding, [model.grammar("text")] * len(asked), settings), [0] * len(asked))
    assert not any(answer.complete for answer in answers), "a row that ends would leave the batch"
    generated = torch.stack([answer.tokens for answer in answers])
    hook.remove()
    cache = decoding.cache.layers
    whole = [
        Prompt((*prompt.ids, *answer.tokens.tolist()), prompt.given, "text") for prompt, answer in zip(asked, answers)
    ]
    logits = model.text_logits(model.hidden(model.collate(whole, model.device)))
    nocache = [row[len(prompt) - 1 : len(prompt) - 1 + len(steps)] for row, prompt in zip(logits, asked)]
    return {
        "type_ids": batch.types, "prefill_position_ids": positions[0],
        "prefill_key_layer0": cache[0].keys[:, :, length - 6 : length],
        "prefill_value_last": cache[-1].values[:, :, length - 6 : length],
        "step_logits_text": torch.stack(steps), "generated_ids": generated,
        "step_position_ids": torch.cat(positions[1 : len(steps)], 1),
        "nocache_step_logits_text": torch.stack(nocache, 1),
        "cleaned_text": [model.vocabulary.decode(answer.tokens.tolist()) for answer in answers],
    }  # fmt: skip


@runner("motiongpt3.lm.sample")
@torch.no_grad()
def sampled(case: Case) -> dict:
    model = load(case)
    asked = prompts(case, model, "motion")
    same_ids(case, asked, end=(model.vocabulary.eos_id,))
    condition = model.condition(asked)
    first, steps = case.tensor("x_T"), case.tensor("step_noise")
    model.diffloss.draw_noise = lambda seeds: torch.cat((first[:, None], steps[:, : len(seeds)].transpose(0, 1)), 1)
    latents = model.sample(condition, range(len(asked)))
    return {
        "z_holders": condition, "latent_out": latents / model.tokenizer.latent_scale,
        "gen_timestep_map": model.diffloss.short_chain.timesteps,
    }  # fmt: skip
