"""Parity of ViMoGen's flow: tables, training loss, sampling, spoilt references, and a batch from prompts to joints."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from mld.models.families.vimogen.config import ViMoGenConfig
from mld.models.families.vimogen.guidance import Exact, Faithful
from mld.models.families.vimogen.reference import BLEND, Spoiling, spoilt
from mld.models.families.vimogen.sampling import FrameDenoising, Prompt
from mld.models.families.vimogen.training import Batch, Draws, flow_losses
from mld.models.heads.flow import TAPS, TRAINED, nearest, noised, sigmas, smoothed, solve, target, weights
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from mld.padding import mask_of
from tests.parity.harness import Case, runner
from tests.parity.runners.vimogen_dit import load_dit

MOTION = get_representation("motion276")
LOGGED = {"loss_text": "monitor/loss_text", "loss_ref_motion": "monitor/loss_reference"}
LED_BY = MOTION.columns_of_blocks(MOTION.pose_blocks)


@runner("vimogen.scheduler")
def scheduler(case: Case) -> dict:
    c, levels = case.config, sigmas(TRAINED, case.config["shift"])[:-1]
    table, places = weights(levels), case.tensor("probe_ids")
    clean, noise = case.tensor("x0"), case.tensor("noise")
    rounded = (TRAINED * levels[places]).bfloat16().float()
    near = nearest(levels, rounded)
    found = {
        "train_sigmas": levels, "train_timesteps": TRAINED * levels, "train_weights": table,
        "probe_timesteps": TRAINED * levels[places], "probe_timesteps_bf16_rounded": rounded,
        "probe_bf16_nearest_index": near, "probe_weight": table[places], "probe_weight_bf16": table[near],
        "add_noise": noised(clean, levels[places], noise), "add_noise_bf16_t": noised(clean, levels[near], noise),
    }  # fmt: skip
    for asked in c["inference"]:
        own = sigmas(asked["steps"], c["shift"], asked["denoising_strength"])[:-1]
        name = f"N{asked['steps']}_s{asked['denoising_strength']}"
        found |= {f"infer_sigmas_{name}": own, f"infer_timesteps_{name}": TRAINED * own}
    steps = sigmas(c["step_table"]["steps"], c["shift"], c["step_table"]["denoising_strength"])
    for name, pair in (("step_first", steps[:2]), ("step_last", steps[-2:])):
        found[name] = solve(lambda state, t: case.tensor("step_v"), case.tensor("step_x"), pair)
    rows = case.tensor("smooth_in")
    impulse = F.one_hot(torch.tensor(TAPS), 2 * TAPS + 1).float()
    kernel = smoothed(impulse[None, :, None], [len(impulse)])[0, TAPS - TAPS // 2 : TAPS + TAPS // 2 + 1, 0]
    return found | {"smooth_out": smoothed(rows[None], [len(rows)])[0], "smooth_kernel": kernel}


@runner("vimogen.flow_loss")
def loss(case: Case) -> dict:
    c, dit = case.config, load_dit(case)
    config = ViMoGenConfig(shift=c["shift"], column_weight=c["global_motion_weight"])
    clean, noise, reference = (case.tensor(name) for name in ("latents", "noise", "ref_motion"))
    draws = Draws.at(case.tensor("timestep_ids"), noise, config)
    mask, seen = case.tensor("latents_mask").bool(), case.tensor("ref_motion_mask").bool()
    counted, by_text = case.tensor("motion_dim_mask").bool(), case.tensor("attend_to_text_mask")
    rows = Batch(clean, mask, counted, case.tensor("context"), None, reference, seen, by_text)
    state = noised(clean, draws.sigma, noise)
    foretold = dit(state, draws.time, rows.texts, reference, mask, seen)  # the gate follows from the references
    columns = torch.ones(clean.shape[-1])
    columns[MOTION.columns("root")] = config.column_weight
    assert MOTION.columns("root") == list(range(*c["global_motion_slice"]))
    terms = flow_losses(foretold, rows, draws, columns)
    terms["flow_loss"].backward()
    squares = sum(p.grad.double().square().sum() for p in dit.parameters() if p.grad is not None)
    return {
        "timesteps": draws.time, "noisy_latents": state, "target": target(clean, noise), "pred": foretold.detach(),
        "sample_weight": draws.weight, "loss": terms["flow_loss"].detach(), "grad_norm": squares.sqrt(),
        **{theirs: terms[own] for theirs, own in LOGGED.items() if own in terms},  # of kinds of rows that are there
        "grad_motion_embedding_weight": dit.embed.weight.grad,
        "grad_blocks0_modulation": dit.blocks[0].modulation.grad,
    }  # fmt: skip


@runner("vimogen.sample")
@torch.no_grad()
def sample(case: Case) -> dict:
    c, dit = case.config, load_dit(case)
    texts, null, noise = list(case.tensor("context")), case.tensor("context_null"), case.tensor("noise")
    mask, seen = case.tensor("latents_mask").bool(), case.tensor("ref_motion_mask").bool()
    references = [None if c["attend_to_text"] else row[keep] for row, keep in zip(case.tensor("ref_motion"), seen)]
    levels = sigmas(c["steps"], c["shift"], c["denoising_strength"])
    found = []
    for kind in (Faithful, Exact):
        states = [[] for _ in texts]  # row by row: each has a null text of its own
        for row, kept in enumerate(states):
            one = slice(row, row + 1)
            guided = kind(dit, texts[one], null[row], references[one], mask[one], c["cfg_scale"], len(texts[row]))
            solve(guided, noise[one], levels, on_step=lambda done, steps, state, kept=kept: kept.append(state[0]))
        found.append(torch.stack([torch.stack(kept) for kept in states], 1))
    torch.testing.assert_close(found[1], found[0], atol=5e-5, rtol=1e-5)
    return {
        "sigmas": levels[:-1], "timesteps": TRAINED * levels[:-1], "trajectory": found[1], "final": found[1][-1],
        "smoothed": smoothed(case.tensor("final"), [noise.shape[1]] * len(noise)),
    }  # fmt: skip


@runner("vimogen.ref_corruption")
def ref_corruption(case: Case) -> dict:
    c = case.config
    usual = ViMoGenConfig()
    ranges = {"corrupt_rate": usual.corrupt_rate, "noise_scale": usual.corrupt_scale,
              "replace_noise_rate": usual.blend_rate}  # fmt: skip
    assert c["ranges"] == ranges and c["jitter_strength"] == BLEND
    how = Spoiling(
        c["corrupt_rate"], c["noise_scale"], c["replace_noise_rate"], c["temporal_dropout_rate"], case.tensor("noise"),
        *(case.tensor(name) for name in ("u_noise", "u_replace")), case.tensor("u_alpha")[..., 0],
        case.tensor("u_drop"),
    )  # fmt: skip
    found, mask = spoilt(case.tensor("ref_motion"), case.tensor("mask").bool(), how)
    return {"corrupted": found, "corrupted_mask": mask.float()}


class Stored:
    """Noise of a case, also where rows are padded."""

    def __init__(self, noise: Tensor) -> None:
        self.noise = noise

    def normal_rows(self, number: int, counts, width: int) -> Tensor:
        assert not number and self.noise.shape[::2] == (len(counts), width)
        return self.noise


@runner("vimogen.pipeline")
@torch.no_grad()
def pipeline(case: Case) -> dict:
    c, samples = case.config, case.arrays["pipeline_a.json#samples"]
    tokenizer = Frames(FramesConfig("motion276"), Normalizer(case.tensor("mean"), case.tensor("std"), "data"))
    config = ViMoGenConfig(
        guidance_scale=c["cfg_scale"], num_inference_steps=str(c["steps"]), shift=c["shift"],
        strength=c["denoising_strength"], text_rows=c["prompt_rows"], default_frames=c["text_frames"], compat=True,
    )  # fmt: skip
    prompts = [_prompt(case, one, tokenizer) for one in samples]
    found = {}
    for exact in (False, True):
        config.exact = exact
        null = case.tensor("null_context")
        model = SimpleNamespace(
            config=config, tokenizer=tokenizer, transformer=load_dit(case), null_text=lambda null=null: null,
            usual_frames=lambda texts: [config.default_frames] * len(texts),  # published weights have no length head
        )  # fmt: skip
        denoising = FrameDenoising(model, prompts)
        lengths = denoising.lengths(Stored(case.tensor("noise")))
        mask = mask_of(lengths)
        found[exact] = denoising.sample(mask, Stored(case.tensor("noise")))
    torch.testing.assert_close(found[True], found[False], atol=1e-4, rtol=0)
    made = {
        "lengths": lengths, "gate": [int(one.reference is None) for one in prompts], "padded": found[True],
        "pipeline_a.json#ids": [
            str(i if one["global_id"] is None else one["global_id"]) for i, one in enumerate(samples)
        ],
        "pipeline_a.json#files": [
            f"motion_gen_condition_on_{'text' if one.reference is None else 'motion'}.pt" for one in prompts
        ],
        "pipeline_a.json#prompt_files": [
            f"{one['prompt']}; motion_duration: {length / MOTION.fps} seconds" for one, length in zip(samples, lengths)
        ],
    }  # fmt: skip
    for one, tokens, length in zip(samples, case.tensor("padded"), lengths):
        motion = tokenizer.decode(tokens[None, :length], mask_of([length]))[0]
        made |= {f"motion/{one['sample']}": motion, f"joints_yup/{one['sample']}": MOTION.decode_joints(motion)}
    return made


def _prompt(case: Case, sample: Mapping, tokenizer: Frames) -> Prompt:
    text = case.tensor(f"embedding/{sample['sample']}")
    if sample["branch"] == "text":
        return Prompt(text)
    rows, c = case.tensor(f"reference/{sample['sample']}"), case.config["resample"]
    wanted = len(rows) * c["target_fps"] // c["source_fps"]
    rows = F.interpolate(rows.T[None], wanted, mode="linear", align_corners=True)[0].T
    return Prompt(text, tokenizer.normalize(rows)[:, LED_BY])
