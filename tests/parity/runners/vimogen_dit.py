"""Parity of ViMoGen's transformer: one forward pass, by texts, by references and mixed."""

from __future__ import annotations

from pathlib import Path

import torch

from mld.models.backbones.dit import DiT, DiTConfig
from mld.models.conversion.keymap import Coverage, KeyMap, part
from tests.parity.harness import Case, runner

KEYS = Path(__file__).parents[3] / "mld" / "models" / "families" / "vimogen" / "keymap.yaml"


def load_dit(case: Case) -> DiT:
    """The network of a case, from its published names; nothing is left over."""
    c = case.config
    assert (c["qk_norm"], c["cross_attn_norm"], c["rope"], c["qk_norm_scope"]) == (True, True, False, "full dim")
    assert (c["time_embedding_order"], c["ffn_activation"], c["text_activation"]) == ("cos, sin", *2 * ("gelu_tanh",))
    assert c["in_dim"] == c["out_dim"] and tuple(c["window_size"]) == (-1, -1)
    dit = DiT(DiTConfig(
        layers=c["num_layers"], reference_layers=c["ref_encoder_layers"], heads=c["num_heads"], width=c["dim"],
        ffn=c["ffn_dim"], channels=c["in_dim"], reference_channels=c["ref_motion_dim"], text_width=c["text_dim"],
        time_waves=c["freq_dim"], eps=c["eps"], positions=c["pos_max_len"],
    ))  # fmt: skip
    coverage = Coverage()
    own = KeyMap.load(KEYS).translate(case.state_dict, coverage)
    assert not coverage.unexpected
    dit.load_state_dict(part(own, "transformer."))
    for name in ("motion_pos_embedding.pe", "ref_motion_pos_embedding.pe"):
        if name in case.state_dict or case.kind == "vimogen.dit":
            torch.testing.assert_close(case.state_dict[name][:, 0], dit.places, atol=1e-6, rtol=0)
    return dit.eval()


@runner("vimogen.dit")
@torch.no_grad()
def forward(case: Case) -> dict:
    dit = load_dit(case)
    given = {name: case.tensor(theirs) for name, theirs in (
        ("mask", "x_mask"), ("by_text", "attend_to_text_mask")) if case.config[theirs] is not None}  # fmt: skip
    rows = [case.tensor(name) for name in ("x", "timestep", "context", "ref_motion")]
    given["reference_mask"] = case.tensor("ref_motion_mask")
    found = dit(*rows, **given)
    # what nobody looks at changes nothing
    torch.testing.assert_close(dit(*rows, **given, encode_all=True), found, atol=1e-5, rtol=0)
    return {"y": found}
