"""MotionMillion: its sizes, what its loss sees and counts, its answers, and its folder. Parity cases are exact."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.engine.pipeline import Noted, Pipeline
from mld.engine.request import Answer, Request
from mld.errors import ConfigError, DataError, RequestError
from mld.example import Clip, Example, Text
from mld.models import registry
from mld.models.backbones.llama import Llama, LlamaBlock, LlamaConfig
from mld.models.contracts.tokens import TokenLayout
from mld.models.families.motionmillion.config import SIZES as PUBLISHED
from mld.models.families.motionmillion.config import MotionMillionConfig
from mld.models.families.motionmillion.decoding import CodeDecoding, CodeGrammar, Prompt
from mld.models.families.motionmillion.model import MotionMillion
from mld.models.families.motionmillion.packing import Vocabulary, kept, pack
from mld.models.noise import RowNoise
from mld.motion.representations.registry import get_representation
from mld.training.parallel import units
from tests.models.tiny_million import CODES, HashedWords, tiny_codes, tiny_million
from tests.models.tiny_streamer import tiny_causal_ae
from tests.walking import walker

WALK, SIT = "a person walks", "someone sits down and then stands up"
TOTALS = {
    "44M": 93_858_304, "111M": 184_833_792, "343M": 441_504_768, "775M": 897_941_760, "1B": 1_558_863_360,
    "3B": 3_404_764_800, "5B": 5_389_897_728, "6B": 6_199_431_168, "7B": 7_818_498_048,
}  # fmt: skip


class Published(torch.nn.Module):
    """A tokenizer of the published number of codes, and an encoder as wide as Flan-T5-XL: no more is asked of them."""

    layout, width = TokenLayout(codebook_size=64_000, frames_per_token=2), 2048


@pytest.fixture(scope="module")
def model() -> MotionMillion:
    return tiny_million()


def codes(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(CODES, (count,), generator=torch.Generator().manual_seed(seed))


def example(count: int, given: int = 0, text: str = WALK, name: str = "") -> Example:
    prompt = (Text(text), *((Clip(tokens=codes(given, 50)),) if given else ()))
    return Example(prompt, (Clip(tokens=codes(count)),), 2 * count, name)


# sizes


@pytest.mark.parametrize("size", TOTALS)
def test_published_sizes(size: str) -> None:
    with torch.device("meta"):
        found = MotionMillion(MotionMillionConfig(size=size), Published(), Published())
    assert sum(parameter.numel() for parameter in found.parameters()) == TOTALS[size]
    assert set(TOTALS) == set(PUBLISHED)


def test_settings() -> None:
    cut = MotionMillionConfig(size="7B", layers=2).llama()
    assert (cut.layers, cut.heads, cut.width, cut.scale) == (2, 32, 4096, 128**-0.5)
    for wrong, said in (
        ({"size": "7b"}, "size '7b' is not known"), ({"keep": 2.0}, "keep is 2.0"), ({"heads": 7}, "is not 7 heads"),
        ({"positions": 300}, "a text of 150, motion_generation.max_length 150 and the end need 301"),
        ({"least_codes": 151}, "least_codes"), ({"text_dropout": -1.0}, "text_dropout"), ({"layers": 0}, "layers"),
        ({"rope_dtype": "half"}, "rope_dtype 'half'"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            MotionMillionConfig(**wrong)


@torch.no_grad()
def test_a_prefix_sees_itself_and_nothing_of_what_follows() -> None:
    torch.manual_seed(0)
    network = Llama(LlamaConfig(2, 2, 16, 12, qk_norm=False)).eval()
    x, prefix = torch.randn(2, 9, 16), torch.tensor([4, 2])
    usual = network(x, prefix)
    for changed, row, same in ((3, 0, []), (3, 1, [0, 1, 2]), (6, 0, range(6)), (1, 1, [])):
        other = x.clone()
        other[row, changed] += 1
        moved = (network(other, prefix) - usual)[row].abs().amax(-1) > 1e-5
        assert moved.tolist() == [place not in same for place in range(9)], (changed, row)
    cache, rows = network.new_cache(2), torch.tensor([1, 0])
    first = network.extend(x[:, :6], torch.arange(6).expand(2, 6), cache, rows, prefix)
    rest = network.extend(x[:, 6:], torch.arange(6, 9).expand(2, 3), cache, rows)
    torch.testing.assert_close(torch.cat((first, rest), 1), usual, atol=1e-5, rtol=1e-5)


# training


def test_rows_are_text_codes_end_and_padding(model: MotionMillion) -> None:
    rows = model.rows([example(5), example(3, given=4)], [4, 2])
    end, pad = model.vocabulary.end_id, model.vocabulary.pad_id
    assert (end, pad) == (CODES, CODES + 1)
    assert rows.tokens[0].tolist() == [pad] * 4 + codes(5).tolist() + [end]
    assert rows.tokens[1].tolist() == [pad] * 2 + codes(4, 50).tolist() + codes(3).tolist() + [end]
    assert rows.counted.int().tolist() == [[0] * 4 + [1] * 6, [0] * 6 + [1] * 4]


def test_what_does_not_fit_is_told() -> None:
    vocabulary = Vocabulary(CODES)
    assert pack([codes(10)], [5], vocabulary, 16).tokens.shape == (1, 16)
    with pytest.raises(DataError, match="clip7: 10 codes, a text of 6 tokens and the end do not fit into 16 positions"):
        pack([codes(10)], [6], vocabulary, 16, names=["clip7"])
    with pytest.raises(DataError, match="lower data.max_frames"):
        tiny_million().loss([example(70, name="long")])


def test_only_states_that_count_are_read(model: MotionMillion) -> None:
    """The loss is that of all logits with padding left out, and given codes are history alone."""
    batch = [example(6, given=3), example(9, text=SIT)]
    texts = model.texts(batch)
    rows = model.rows(batch, [len(text) for text in texts])
    logits = model.logits(model.states(texts, rows.tokens))
    targets = torch.where(rows.counted, rows.tokens, model.vocabulary.pad_id)[:, 1:]
    want = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=model.vocabulary.pad_id
    )
    found = model.loss(batch)
    torch.testing.assert_close(found["code_loss"], want)
    chosen = logits[:, :-1].argmax(-1)[rows.counted[:, 1:]] == targets[rows.counted[:, 1:]]
    torch.testing.assert_close(found["monitor/accuracy"], chosen.float().mean())


def test_a_row_may_be_shorter_than_the_text_of_another(model: MotionMillion) -> None:
    long = " ".join(f"word{i}" for i in range(40))
    assert [len(text) for text in model.read([long, "word"])] == [12, 2]  # longest_text
    together = model.loss([example(1, text="word"), example(1, text=long)])["code_loss"]
    alone = [model.loss([one])["code_loss"] for one in (example(1, text="word"), example(1, text=long))]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_random_codes_in_the_history() -> None:
    vocabulary, end, pad = Vocabulary(CODES), CODES, CODES + 1
    tokens = torch.tensor([[pad] * 50 + [3] * 900 + [end] + [pad] * 49] * 8)
    is_code = tokens < CODES
    torch.manual_seed(0)
    stay = kept(tokens, vocabulary, 0.75, compat=False)
    assert stay[~is_code].all() and abs(float(stay[is_code].float().mean()) - 0.75) < 0.03
    assert not kept(tokens, vocabulary, 0.75, compat=True)[~is_code].all()
    rates = kept(tokens, vocabulary, -1, compat=False)[:, 50:950].float().mean(1)
    assert rates.std() > 0.1
    assert kept(tokens, vocabulary, -1, compat=True).float().mean(1).std() < 0.05


def test_corruption_is_for_training_alone_and_changes_the_loss() -> None:
    usual, struck = tiny_million(), tiny_million(keep=0.1)
    batch = [example(20), example(30, text=SIT)]
    want = usual.loss(batch)["code_loss"]
    assert torch.equal(struck.loss(batch)["code_loss"], want)
    torch.manual_seed(0)
    assert abs(struck.train().loss(batch)["code_loss"] - want) > 1e-3
    torch.testing.assert_close(usual.train().loss(batch)["code_loss"], want)


def test_texts_are_dropped_in_training_alone() -> None:
    words = HashedWords()
    network = tiny_million(text=words, text_dropout=0.4).train()
    network.texts([example(3)] * 200)
    assert 50 < words.asked.count("") < 110
    words.asked.clear()
    network.eval().texts([example(3)] * 20)
    assert "" not in words.asked


def test_the_tokenizer_has_no_gradient(model: MotionMillion) -> None:
    network = tiny_million().train()
    network.loss([example(5), example(7, given=2, text=SIT)])["code_loss"].backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in network.named_parameters() if name.startswith("tokenizer.")}


# answers


def request(text: str = WALK, frames: int | None = None, seed: int = 0, given: torch.Tensor | None = None) -> Request:
    clip = () if given is None else (Clip(features=given, joints=get_representation("motion272").decode(given).joints),)
    return Request((Text(text), *clip), "motion", frames, seed)


def answers(model: MotionMillion, *requests: Request, batch_size: int = 8) -> list[Answer]:
    return Pipeline(model, bones="clip").run(list(requests), batch_size=batch_size)


def tokens_of(found: list[Answer]) -> list[list[int]]:
    return [answer.tokens.tolist() for answer in found]


class Ending(MotionMillion):
    """Ends where it may, or never."""

    likely = 50.0

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        found = super().logits(states).clone()
        found[..., self.vocabulary.end_id] = self.likely
        return found


def ending(likely: float = 50.0, **config) -> MotionMillion:
    network = tiny_million(**config)
    network.__class__ = Ending
    network.likely = likely
    return network


def test_answers_do_not_depend_on_who_is_beside_them_nor_on_the_cache(
    model: MotionMillion, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [request(text, frames, seed) for text, frames, seed in
             ((WALK, 40, 1), (SIT, 12, 2), (WALK, 40, 3), (WALK, None, 1), (SIT, None, 1))]  # fmt: skip
    together, alone = (tokens_of(answers(model, *asked, batch_size=size)) for size in (8, 1))
    assert together == alone
    assert [len(row) for row in together[:3]] == [20, 6, 20] and together[0] != together[2]

    def slow(network, prompts, output, counts) -> CodeDecoding:
        return CodeDecoding(network, prompts, counts, CODES + 1, cached=False)

    monkeypatch.setattr(MotionMillion, "start", slow)
    assert tokens_of(answers(model, *asked)) == together


def test_lengths() -> None:
    """A length that is wanted is met, the end comes neither before the least nor after the most codes."""
    assert len(answers(ending(), request(frames=30))[0].tokens) == 15
    assert len(answers(ending(least_codes=5), request())[0].tokens) == 5
    for network in (ending(-50.0), ending(ends=False)):
        (found,) = answers(network, request())
        assert len(found.tokens) == 40 and not found.complete
    with pytest.raises(RequestError, match="at most about 80 at once"):
        answers(tiny_million(), request(frames=82))


def test_an_end_at_once_is_an_empty_motion_with_a_note_and_as_published_the_code_1() -> None:
    network = ending()
    (found,) = answers(network, request())
    assert found.complete and found.tokens.tolist() == [0] and "the model wrote no motion" in found.notes[0]
    network.answer_as_published()
    (found,) = answers(network, request())
    assert found.tokens.tolist() == [1] and not found.notes


def test_the_published_cap_is_for_motions_whose_length_is_open() -> None:
    network = ending(-50.0, positions=100, motion_generation={"max_length": 80})
    assert len(answers(network, request())[0].tokens) == 80
    network.answer_as_published()
    assert not network.config.motion_generation.do_sample
    open_, wanted = answers(network, request(), request(frames=140))
    assert (len(open_.tokens), len(wanted.tokens)) == (50, 70)


def test_a_motion_that_goes_on_keeps_what_was_given(model: MotionMillion) -> None:
    given = get_representation("motion272").encode_joints(walker(24)[None])[0]
    (found,) = answers(model, request(frames=48, given=given))
    assert found.motion.num_frames == 48
    assert torch.equal(found.motion.joints[:24], get_representation("motion272").decode(given).joints)
    (without,) = answers(model, request(frames=24))
    assert found.tokens.tolist() != without.tokens.tolist()


def test_a_text_that_is_cut_is_told(model: MotionMillion) -> None:
    words = " ".join(f"word{i}" for i in range(12))  # and the end
    whole, cut = answers(model, request(words.removesuffix(" word11")), request(words))
    assert not whole.notes and cut.notes == ("the text has 13 tokens, of which this model reads 12",)


def test_settings_of_one_call(model: MotionMillion) -> None:
    pipeline = Pipeline(model, bones="clip")
    greedy = [pipeline.generate(WALK, 1.0, seed, do_sample=False) for seed in (0, 1)]
    assert torch.equal(greedy[0].joints, greedy[1].joints)
    drawn = [pipeline.generate(WALK, 1.0, seed, temperature=1.5) for seed in (0, 1)]
    assert not torch.equal(drawn[0].joints, drawn[1].joints)
    assert len(pipeline.generate(WALK, do_sample=False, least_codes=30).joints) >= 60
    assert len(pipeline.generate(WALK, ends=False, max_length=11).joints) == 22
    with pytest.raises(ConfigError, match="least_codes is 41, more than"):
        pipeline.generate(WALK, least_codes=41)
    with pytest.raises(ConfigError, match="need 93"):
        pipeline.generate(WALK, 1.0, max_length=80)
    assert model.config.motion_generation.max_length == 40


def test_it_streams_in_windows() -> None:
    model = tiny_million(positions=120, motion_generation={"max_length": 70})
    with Pipeline(model).stream(WALK, seconds=3) as stream:
        frames = sum(len(chunk.joints) for chunk in stream)
    assert frames == 90 and not stream.native


def test_a_grammar_without_a_limit() -> None:
    grammar = CodeGrammar(Vocabulary(3), 5, None, least=1)
    allowed = {0: [True] * 3 + [False] * 2, 1: [True] * 4 + [False]}
    assert {step: grammar.allowed(step).tolist() for step in (0, 1)} == allowed


def test_a_tied_table_never_writes_padding() -> None:
    network = tiny_million(tie_head=True, motion_generation={"temperature": 50.0})
    assert network.head is None
    prompts = [Prompt(network.read([WALK])[0], codes(0))] * 8
    decoding = network.start(prompts, "motion", [None] * 8)
    state = decoding.step(None)
    assert state.shape == (8, CODES + 2)
    state[:, -1] = 1e4
    ids, _ = decoding.draw(state, RowNoise(range(8)))
    assert (ids <= CODES).all()


# settings, folders, devices


def test_adopting_keeps_sizes_and_takes_the_rest() -> None:
    network = tiny_million()
    network.adopt(replace(network.config, layers=9, size="44M", tie_head=True, keep=0.5, least_codes=3))
    assert (network.config.layers, network.config.size, network.config.tie_head) == (2, "111M", False)
    assert (network.config.keep, network.config.least_codes) == (0.5, 3)


@pytest.mark.parametrize("tied", [False, True])
def test_a_folder_gives_the_same_answers(tied: bool, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_million(tie_head=tied)
    monkeypatch.setitem(registry.FAMILIES["text_encoder"], "hashed_words", "tests.models.tiny_million:HashedWords")
    again = load_model(save_model(network, tmp_path / "model", {}))
    assert isinstance(again, MotionMillion) and again.config == network.config
    asked = request(frames=24, seed=4)
    assert tokens_of(answers(network, asked)) == tokens_of(answers(again, asked))


def test_blocks_are_what_devices_share(model: MotionMillion) -> None:
    found = units(model)
    assert len(found) == 2 and all(isinstance(unit, LlamaBlock) for unit in found)


def test_tokenizers_that_give_no_codes_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs codes in order, as of 'fsq_ae'"):
        MotionMillion(MotionMillionConfig(), tiny_causal_ae(), HashedWords())
    assert tiny_codes().layout.frames_per_token == 2


def test_a_length_in_words_is_the_length(model: MotionMillion) -> None:
    pipeline = Pipeline(model)
    asked = [Request((Text(text),), "motion") for text in (f"{WALK} for two seconds", f"{SIT} for two seconds")]
    clear, unclear = pipeline.run(asked)
    assert clear.motion.num_frames == 60 and clear.request.prompt == asked[0].prompt
    assert clear.notes == ("2 seconds long, as the text says; length_words=false lets the model decide",)
    assert unclear.request.num_frames is None  # of "and then stands up" alone, perhaps
    assert torch.equal(clear.tokens, pipeline.run([replace(asked[0], num_frames=60)])[0].tokens)
    assert pipeline.run([replace(asked[0], num_frames=20)])[0].motion.num_frames == 20  # what is asked for goes first
    with pytest.warns(Noted, match="1.5 seconds long"):
        assert pipeline.generate("runs for one and a half seconds").num_frames == 45


def test_a_length_in_words_can_be_left_to_the_model(model: MotionMillion) -> None:
    pipeline, request = Pipeline(model), Request((Text(f"{WALK} in two seconds"),), "motion")
    (free,) = Pipeline(tiny_million(length_words=False)).run([request])
    assert free.request.num_frames is None and not free.notes and free.motion.num_frames != 60
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pipeline.generate(f"{WALK} in two seconds", length_words=False).num_frames == free.motion.num_frames
    (published,) = Pipeline(tiny_million(compat=True)).run([request])
    assert published.request.num_frames is None and not published.notes


def test_more_seconds_in_words_than_the_model_makes_are_told(model: MotionMillion) -> None:
    (answer,) = Pipeline(model).run([Request((Text(f"{WALK} for 9 seconds"),), "motion")])
    assert answer.notes == ("the text says 9 seconds, the model makes at most 2.7 at once; it decided",)
    assert answer.request.num_frames is None and 0 < answer.motion.num_frames <= 80
