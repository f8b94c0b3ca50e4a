"""Parity of the MotionGPT3 family: the motion VAE."""

from __future__ import annotations

import torch

from mld.models.gaussian import Gaussian
from mld.models.tokenizers.skip_transformer import SkipVAE
from tests.parity.harness import Case, runner

POSITIONS = {"mld": "learned", "actor": "sinusoidal"}


def load_vae(case: Case) -> SkipVAE:
    c = case.config
    assert c["arch"] == "encoder_decoder" and c["norm_eps"] == 1e-5 and c["gelu_form"] == "erf"
    latents, width = c["latent_dim"]
    model = SkipVAE(
        c["nfeats"], latents, width, c["ff_size"], c["num_layers"], c["num_heads"], c["dropout"], c["activation"],
        c["normalize_before"], POSITIONS[c["PE_TYPE"]], c["pe_max_len"], not c["MLP_DIST"],
    )  # fmt: skip
    model.load_state_dict(case.state_dict)
    return model.train(c["mode"] == "train")


def frames(lengths: torch.Tensor) -> torch.Tensor:
    return torch.arange(int(lengths.max())) < lengths[:, None]


@runner("motiongpt3.vae")
@torch.no_grad()
def vae(case: Case) -> dict:
    model = load_vae(case)
    features, lengths = case.tensor("features"), case.tensor("lengths")
    mask = frames(lengths)
    found = model.encode(features, mask)
    out = {
        "dist_tokens": model.distribution_tokens(features, mask), "mu": found.mu, "logvar": found.logvar,
        "std": (found.logvar / 2).exp(), "z": found.sample(case.tensor("eps").transpose(0, 1)),
    }  # fmt: skip
    out = {name: value.transpose(0, 1) for name, value in out.items()}
    out["recon"] = model.decode(case.tensor("z").transpose(0, 1), mask)
    out["decoded"] = model.decode(case.tensor("z_decode").transpose(0, 1), frames(case.tensor("decode_lengths")))
    if case.config["segments"]:
        out["seg_latents"] = segments(case, model)
    return out


def segments(case: Case, model: SkipVAE) -> torch.Tensor:
    """Latents of the stretches that each task cuts a clip into, all in one batch."""
    ratios = case.config["segments"]
    rows = []
    modes = [str(mode) for mode in case.arrays["seg_modes"]]
    for mode, clip, length in zip(modes, case.tensor("features"), case.tensor("lengths").tolist()):
        head = int(ratios["predict_ratio"] * length)
        first, last = int(ratios["inbetween_ratio"] * length), int((1 - ratios["inbetween_ratio"]) * length)
        cuts = {"pred": [(0, head), (head, length)], "inbe": [(0, first), (last, length), (0, length)]}
        cuts |= {"t2t": [], "n2t": []}
        rows += [clip[a:b] for a, b in cuts.get(mode[:4], [(0, length)])]
    mask = frames(torch.tensor([len(row) for row in rows]))
    found = model.encode(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), mask)
    noise = case.tensor("seg_noise").reshape(len(rows), *found.mu.shape[1:])
    z = Gaussian(found.mu, found.logvar).sample(noise) * float(case.arrays["mean_std_inv"])
    return z.reshape(case.arrays["seg_latents"].shape)
