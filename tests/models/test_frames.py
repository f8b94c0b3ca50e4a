"""Frames as tokens that leave out what follows from places: rotations, velocities and contacts are found again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mld.checkpoint import load_model, save_model
from mld.errors import CheckpointError, ConfigError, DataError
from mld.example import FeatureBatch
from mld.models.tokenizers.frames import Frames, FramesConfig
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation
from tests.models.tiny_vimogen import SIZES
from tests.motion.test_finishing import walk

COLUMNS = get_representation("humanml3d")
ROOT_AND_PLACES = ["root", "positions"]


def frames_of(roles: list[str], **more) -> Frames:
    features = walk(COLUMNS)
    return Frames(FramesConfig(roles=roles, **more), Normalizer(features.mean(0), features.std(0) + 0.01, "fitted"))


def batch() -> FeatureBatch:
    mask = torch.arange(60)[None] < torch.tensor([[60], [41]])
    return FeatureBatch(walk(COLUMNS).expand(2, -1, -1), mask, ("a", "b"))


@pytest.mark.parametrize(
    ("roles", "width"),
    [(ROOT_AND_PLACES, 67), ([*ROOT_AND_PLACES, "velocities"], 133), ([*ROOT_AND_PLACES, "contacts"], 71), ([], 263)],
)
def test_a_motion_comes_back_whole(roles: list[str], width: int) -> None:
    tokenizer, given = frames_of(roles), batch()
    tokens, mask = tokenizer.encode(given.features, given.mask)
    assert tokens.shape == (2, 60, width) and tokenizer.layout.channels == len(tokenizer.columns) == width
    assert not tokens[1, 41:].any()
    made = tokenizer.decode(tokens, mask)
    # headings are smoothed over frames before and after, and behind the last frame nothing is known
    torch.testing.assert_close(made[0, :40], given.features[0, :40], atol=2e-3, rtol=0)
    torch.testing.assert_close(made[1, :30], given.features[1, :30], atol=0.1, rtol=0)
    held = torch.tensor(tokenizer.columns)
    torch.testing.assert_close(made[given.mask][:, held], given.features[given.mask][:, held], atol=1e-5, rtol=0)
    assert float(tokenizer.loss(given)["monitor/recons_feature"]) < 1e-9


def test_rows_do_not_depend_on_others_and_columns_agree() -> None:
    tokenizer, given = frames_of(ROOT_AND_PLACES, fixed_bones=True), batch()
    tokens, mask = tokenizer.encode(given.features, given.mask)
    tokens = tokens + 0.2 * torch.randn(tokens.shape, generator=torch.Generator().manual_seed(0)) * mask[..., None]
    made = tokenizer.decode(tokens, mask)
    alone = tokenizer.decode(tokens[1:, :41], mask[1:, :41])
    torch.testing.assert_close(made[1, :41], alone[0], atol=1e-5, rtol=0)
    joints = COLUMNS.decode_joints(made[0])
    again = COLUMNS.encode_joints(joints[None], retarget=False)[0]
    for name in ("joint_velocities", "foot_contacts", "joint_rotations"):
        found, wanted = (COLUMNS.block(features, name)[:40] for features in (made[0], again))
        torch.testing.assert_close(found, wanted, atol=2e-3, rtol=0)


def test_the_roles_are_kept_in_the_model_folder(tmp_path: Path) -> None:
    tokenizer, given = frames_of(ROOT_AND_PLACES), batch()
    save_model(tokenizer, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.columns == tokenizer.columns and again.layout == tokenizer.layout
    tokens, mask = tokenizer.encode(given.features, given.mask)
    assert torch.equal(again.decode(tokens, mask), tokenizer.decode(tokens, mask))


def test_short_clips_and_rows_without_a_frame() -> None:
    tokenizer = frames_of(ROOT_AND_PLACES)
    tokens, mask = torch.zeros(3, 2, 67), torch.tensor([[True, True], [True, False], [False, False]])
    assert tokenizer.decode(tokens, mask)[mask].isfinite().all()
    assert tokenizer.decode(tokens[:, :1], mask[:, :1]).shape == (3, 1, 263)
    tokens[0] = torch.nan  # of a network that has diverged: no clip is to blame
    made = tokenizer.decode(tokens, mask)
    assert made[0].isnan().any() and made[1, :1].isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"roles": ["root", "places"]}, "no columns of role 'places'; did you mean"),
     ({"roles": ["root", "velocities"]}, "leaves out 'positions', which no other column tells"),
     ({"roles": ROOT_AND_PLACES, "steady": True}, "leaves out 'velocities', which steady needs"),
     ({"roles": ROOT_AND_PLACES, "representation": "motion276"}, "leaves out")],
)  # fmt: skip
def test_roles_that_cannot_be_left_out_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Frames(FramesConfig(**settings))


def test_columns_of_which_none_follows() -> None:
    with pytest.raises(DataError, match="has no columns that follow from others"):
        get_representation("motion276").completed(torch.zeros(1, 3, 276), ["rotations"])


def test_vimogen_over_some_of_the_columns() -> None:
    from mld.engine.pipeline import Pipeline
    from mld.engine.request import Request
    from mld.example import Clip, Example, Text
    from mld.models.families.vimogen.config import ViMoGenConfig
    from mld.models.families.vimogen.convert import published_state
    from mld.models.families.vimogen.model import ViMoGen
    from tests.models.tiny_million import HashedWords

    def model(**config) -> ViMoGen:
        torch.manual_seed(0)
        config = {"references": False, "prediction": "clean", "strength": 1.0, "patch": 4, "text_rows": 8,
                  "step_weight": 2.0, "column_weight": 3.0, "role_weights": {"velocities": 0.5, "rotations": 0.0},
                  "num_inference_steps": "4", **SIZES, **config}  # fmt: skip
        parts = {"tokenizer": frames_of([*ROOT_AND_PLACES, "velocities"]), "text": HashedWords()}
        return ViMoGen.create(ViMoGenConfig(**config), parts, [])

    made = model()
    assert made.column_weights.tolist() == [3.0] * 4 + [1.0] * 63 + [0.5] * 66
    assert made.of_places.tolist() == [0.0] * 4 + [1.0] * 63 + [0.0] * 66
    clip = Clip(features=walk(COLUMNS))
    told = Example((Text("a person walks"),), (clip,), 60, supervised=("joint_rotations", "joint_velocities"))
    assert made.rows([told]).counted[0].tolist() == [False] * 67 + [True] * 66
    made.train().loss([Example((Text("a person walks"),), (clip,), 60)])["flow_loss"].backward()
    assert made.transformer.embed.weight.grad.any()
    answers = Pipeline(made.eval()).run([
        Request((Text("a person walks"),), "motion", 30, 0),
        Request((Text("a person walks"), Clip(features=walk(COLUMNS)[:20])), "motion", 40, 0),
    ])
    assert [answer.features.shape for answer in answers] == [(30, 263), (40, 263)]
    assert answers[0].features.isfinite().all() and COLUMNS.block(answers[0].features, "joint_rotations").any()
    plain = model(prediction="velocity", patch=1)
    with pytest.raises(CheckpointError, match="published files hold all columns"):
        published_state(plain)
    with pytest.raises(ConfigError, match="reconcile: needs all columns"):
        model(reconcile=True)
