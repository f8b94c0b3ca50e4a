"""Tokenizers that make what they decode steady and fix its bones, and losses of bones and of planted feet."""

from __future__ import annotations

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import ConfigError
from mld.example import FeatureBatch
from mld.metrics.physical import bone_spread
from mld.models.tokenizers.body_losses import body_losses
from mld.models.tokenizers.causal_ae import CausalAE, CausalAEConfig
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.models.tokenizers.fsq_ae import FSQAE, FSQAEConfig
from mld.models.tokenizers.vae import MotionVAE, MotionVAEConfig
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from tests.motion.test_finishing import foretold, walk

BOTH = {"steady": True, "fixed_bones": True}
SMALL = {"width": 16, "depth": 1, "normalizer": "fitted"}
MAKERS = {
    "vqvae": lambda **more: VQVAE(VQVAEConfig(code_dim=8, codebook_size=16, **SMALL, **more), statistics("humanml3d")),
    "vae": lambda **more: MotionVAE(
        MotionVAEConfig(latent_channels=16, ff_size=16, num_layers=1, num_heads=2, **more), statistics("humanml3d")
    ),
    "fsq_ae": lambda **more: FSQAE(
        FSQAEConfig(levels=[4, 4], code_dim=8, piece=0, **SMALL, **{"causal": True, **more}), statistics("motion272")
    ),
    "causal_ae": lambda **more: CausalAE(
        CausalAEConfig(**{**SMALL, "latent_channels": 4, **more}), statistics("motion272")
    ),
}


def statistics(name: str) -> Normalizer:
    features = walk(get_representation(name))
    return Normalizer(features.mean(0), features.std(0) + 0.01, "fitted")


def made(family: str, **more):
    torch.manual_seed(0)
    return MAKERS[family](**more).eval()


def batch(name: str) -> FeatureBatch:
    features = torch.stack([walk(get_representation(name)), foretold(get_representation(name))])[:, :40]
    return FeatureBatch(features, torch.arange(40)[None] < torch.tensor([[40], [24]]), ("a", "b"))


@pytest.mark.parametrize("family", list(MAKERS))
def test_decoding_of_every_tokenizer_has_fixed_bones_where_it_is_asked_for(family: str, tmp_path) -> None:
    plain, finished = made(family), made(family, **BOTH)
    representation, given = get_representation(plain.representation), batch(plain.representation)
    tokens, mask = plain.encode(given.features, given.mask)
    spread = []
    save_model(finished, tmp_path / "model")
    for tokenizer in (plain, finished, load_model(tmp_path / "model")):
        joints = representation.decode_joints(tokenizer.decode(tokens, mask, given.mask))
        spread.append(bone_spread(joints[1, :24], representation.skeleton.parents).max())
    assert spread[0] > 0.01
    assert max(spread[1:]) < 1e-4


@pytest.mark.parametrize("family", ["fsq_ae", "causal_ae"])
def test_a_stream_gives_what_decoding_at_once_does(family: str) -> None:
    tokenizer = made(family, **BOTH)
    given = batch(tokenizer.representation).features
    tokens, mask = tokenizer.encode(given, torch.ones(given.shape[:2], dtype=torch.bool))
    whole, stream = tokenizer.decode(tokens, mask), tokenizer.stream(1)
    stream.grow(2)
    first = stream.push(tokens[:, :3])
    held = stream.held(1)
    rest = [stream.push(tokens[row : row + 1, 3:], [row]) for row in (0, 1)]
    torch.testing.assert_close(torch.cat([first, torch.cat(rest)], 1), whole, atol=1e-4, rtol=0)
    stream.restore(0, held)
    torch.testing.assert_close(stream.push(tokens[1:, 3:], [0]), rest[1], atol=1e-5, rtol=0)
    stream.begin(1)
    torch.testing.assert_close(stream.push(tokens[1:, :3], [1]), first[1:], atol=1e-5, rtol=0)


def test_what_columns_or_pieces_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match="motion276"):
        Frames(FramesConfig(representation="motion276", steady=True))
    with pytest.raises(ConfigError, match="piece by piece"):
        CausalAE(CausalAEConfig(representation="humanml3d", fixed_bones=True, **SMALL))


@pytest.mark.parametrize("family", list(MAKERS))
def test_losses_are_there_where_they_are_asked_for_and_teach(family: str) -> None:
    tokenizer = made(family).train()
    given = batch(tokenizer.representation)
    assert not {"bone_loss", "contact_loss"} & set(tokenizer.loss(given))
    tokenizer.optional_losses = ("bone_loss", "contact_loss")
    terms = tokenizer.loss(given)
    for name in tokenizer.optional_losses:
        assert terms[name] > 0.01
        tokenizer.zero_grad()
        terms[name].backward(retain_graph=True)
        assert max(p.grad.abs().max() for p in tokenizer.parameters() if p.grad is not None) > 0


def test_losses_of_a_body_are_those_counted_by_hand() -> None:
    representation = get_representation("humanml3d")
    want, got = walk(representation)[None], foretold(representation)[None]
    mask = torch.arange(60)[None] < 50
    found = body_losses(representation, got, want, mask, ("bone_loss", "contact_loss"))
    joints = [representation.decode_joints(each)[0] for each in (got, want)]
    bones, speeds = [], []
    for frame in range(50):
        for child, parent in list(enumerate(representation.skeleton.parents))[1:]:
            lengths = [float((each[frame, child] - each[frame, parent]).norm()) for each in joints]
            bones.append(10 * abs(lengths[0] - lengths[1]))
        for foot in (7, 10, 8, 11) if frame < 49 else ():
            moves = [20 * (each[frame + 1, foot] - each[frame, foot]) for each in joints]
            if moves[1].norm() < 0.2:
                speeds.append(float((moves[0] - moves[1]).norm()))
    assert speeds
    assert float(found["bone_loss"]) == pytest.approx(sum(bones) / len(bones), rel=1e-3)
    assert float(found["contact_loss"]) == pytest.approx(sum(speeds) / len(speeds), rel=1e-3)
    still = body_losses(representation, want, want, mask, ("bone_loss", "contact_loss"))
    assert max(still.values()) < 1e-6
