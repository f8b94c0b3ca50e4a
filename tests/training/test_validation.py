"""What a generator is validated on: captions and clips both ways, behind a motion where one is given."""

from __future__ import annotations

import pytest
import torch

from mld.example import CaptionedClip, Clip, Text
from mld.models.contracts.tokens import TokenLayout
from mld.training.generator_module import FROM_WORDS, TO_WORDS, GeneratorModule, both_ways
from mld.training.run_config import TrainingConfig
from mld.training.token_encoding import tokenize
from tests.models.tiny_streamer import tiny_streamer

FEATURES = torch.randn(44, 272, generator=torch.Generator().manual_seed(0))
PLAIN = CaptionedClip("plain", FEATURES, ("a person walks",), 30.0)
PAIR = CaptionedClip("pair", FEATURES, ("they sit down",), 30.0, history=22)


@pytest.mark.parametrize(
    ("layout", "tokens", "axis"),
    [
        (TokenLayout(codebook_size=8, frames_per_token=4), torch.arange(11), 0),
        (TokenLayout(channels=3, frames_per_token=4), torch.randn(11, 3), 0),
        (TokenLayout(channels=3, frames_per_token=4), torch.randn(2, 11, 3), 1),
    ],
)
def test_what_is_given_is_told_from_what_follows(layout: TokenLayout, tokens: torch.Tensor, axis: int) -> None:
    (plain, pair) = both_ways([PLAIN, PAIR], {"plain": tokens, "pair": tokens}, layout)[FROM_WORDS]
    assert plain.prompt == (Text("a person walks"),) and torch.equal(plain.target[0].tokens, tokens)
    text, given = pair.prompt
    (rest,) = pair.target
    assert text == Text("they sit down") and isinstance(given, Clip)
    assert len(given.features) == rest.start == 20 and len(rest.features) == 24  # in whole tokens
    assert torch.equal(torch.cat((given.tokens, rest.tokens), axis), tokens) and given.tokens.shape[axis] == 5
    (_, said) = both_ways([PLAIN, PAIR], {"plain": tokens, "pair": tokens}, layout)[TO_WORDS]
    assert len(said.prompt[0].features) == 24 and said.prompt[0].start == 0
    (_, alone) = both_ways([PLAIN, PAIR], {"plain": tokens, "pair": tokens}, layout, goes_on=False)[FROM_WORDS]
    assert len(alone.prompt) == 1 and len(alone.target[0].features) == alone.num_frames == 24


def test_latents_of_whole_clips_are_not_cut() -> None:
    layout, tokens = TokenLayout(channels=3, tokens_per_clip=2, unit=4), torch.randn(2, 2, 3)
    (pair,) = both_ways([PAIR], {"pair": tokens}, layout)[FROM_WORDS]
    assert pair.prompt[1].tokens is None and pair.target[0].tokens is None and pair.target[0].start == 20


def test_samples_and_losses_of_a_streaming_model() -> None:
    """The sample of a pair begins with its given frames; its loss is that of the examples of training."""
    network = tiny_streamer()
    module = GeneratorModule(network, TrainingConfig(max_steps=1), {})
    samples = module.show([PLAIN, PAIR])
    torch.testing.assert_close(
        samples.motions[1].joints[:22], joints_of(network, FEATURES[:22]), atol=1e-4, rtol=0
    )
    tokens = tokenize(network.tokenizer, [PLAIN, PAIR])
    (example,) = both_ways([PAIR], tokens, network.tokenizer.layout)[FROM_WORDS]
    rows = network.rows([example])
    assert rows.history[0, :5].all() and not rows.history[0, 5:].any()
    assert not rows.counted[0, :5].any() and rows.counted[0, 5:11].all()


def joints_of(network, features: torch.Tensor) -> torch.Tensor:
    from mld.motion.representations.registry import get_representation

    return get_representation(network.tokenizer.representation).decode_joints(features)
