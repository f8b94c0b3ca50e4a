"""Parity of the two-branch GPT-2 of the MotionGPT3 family: full and cached forward, every kind of attention."""

from __future__ import annotations

import torch

from mld.models.backbones.mot_gpt2 import ARCHITECTURE, MoTGPT2, Routing
from mld.models.families.motiongpt3.start_point import without_copies
from tests.parity.harness import Case, runner

MODALITIES = {"text": 0, "motion": 1}


def load_backbone(case: Case, prefix: str = "") -> MoTGPT2:
    c = case.config
    assert c["mot_factor"] == 1.0
    sizes = {key: c[key] for key in ARCHITECTURE if key in c and key not in ("vocab_size", "text_pad_id")}
    model = MoTGPT2(MoTGPT2.complete(sizes, c["vocab_size"], c["text_pad_id"]))
    state = {k.removeprefix(prefix): v for k, v in case.state_dict.items() if k.startswith(prefix)}
    model.load_state_dict(without_copies(state))
    return model.train(c["mode"] == "train")


@runner("motiongpt3.mot")
@torch.no_grad()
def backbone(case: Case) -> dict:
    model = load_backbone(case)
    ids, types, positions = (case.tensor(name) for name in ("input_ids", "type_ids", "position_ids"))
    mask = case.tensor("attention_mask", torch.bool)
    layers: list[torch.Tensor] = []
    routing = Routing(types, types.shape, types.device)
    hooks = [
        block.register_forward_hook(lambda module, inputs, streams: layers.append(routing.merge(streams)))
        for block in model.transformer["h"]
    ]
    embeddings = model.embed(ids, types)
    results = _results(model, model(embeddings, types, mask, positions))
    for hook in hooks:
        hook.remove()
    for i, layer in enumerate(layers[:-1], start=1):
        results.update({f"layer{i}_{name}": layer for name in MODALITIES})

    prefill, cache, hidden = int(case.arrays["prefill_len"]), model.new_cache(), []
    model(embeddings[:, :prefill], types[:, :prefill], mask[:, :prefill], positions[:, :prefill], cache)
    for i in range(prefill, ids.shape[1]):
        new = slice(i, i + 1)
        hidden.append(model(embeddings[:, new], types[:, new], mask[:, : i + 1], positions[:, new], cache))
    cached = _results(model, torch.cat(hidden, 1))
    return {**results, **{f"inc_{name}": value for name, value in cached.items()}}


def _results(model: MoTGPT2, hidden: torch.Tensor) -> dict[str, torch.Tensor]:
    logits = {"logits_text": model.text_logits(hidden), "logits_motion": model.motion_logits(hidden)}
    return {**logits, **{f"hidden_{name}": hidden for name in MODALITIES}}
