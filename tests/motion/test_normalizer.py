import numpy as np
import pytest
import torch

from mld.errors import DataError
from mld.motion.normalizer import Normalizer
from mld.motion.representations.registry import get_representation

HUMANML3D = get_representation("humanml3d")


def _clips(seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = torch.linspace(0.01, 2, 263)
    return [torch.randn(length, 263, generator=generator) * scale + 3 for length in (5, 40, 17)]


def test_fit_is_mean_and_group_constant_population_std():
    rows = torch.cat(_clips()).double()
    fitted = Normalizer.fit(iter(_clips()), HUMANML3D)
    torch.testing.assert_close(fitted.mean, rows.mean(0).float())
    for part in HUMANML3D.blocks.values():
        wanted = rows[:, part].std(0, correction=0).mean().float()
        torch.testing.assert_close(fitted.std[part], wanted.expand(part.stop - part.start))


def test_feature_bias_divides_root_and_contacts():
    plain, biased = Normalizer.fit(_clips(), HUMANML3D), Normalizer.fit(_clips(), HUMANML3D, feature_bias=25)
    biased_blocks = {*HUMANML3D.roles["root"], *HUMANML3D.roles["contacts"]}
    for name, part in HUMANML3D.blocks.items():
        factor = 25.0 if name in biased_blocks else 1.0
        torch.testing.assert_close(plain.std[part], biased.std[part] * factor)


def test_a_block_that_never_changes_keeps_its_scale():
    clips = _clips()
    for clip in clips:
        clip[:, HUMANML3D.blocks["foot_contacts"]] = 0
    fitted = Normalizer.fit(clips, HUMANML3D, feature_bias=25).check(HUMANML3D)
    assert (fitted.std[HUMANML3D.blocks["foot_contacts"]] == 1).all()


def test_normalize_and_back(tmp_path):
    fitted = Normalizer.fit(_clips(), HUMANML3D)
    features = torch.stack([_clips(1)[0]] * 2)
    scaled = fitted.normalize(features)
    torch.testing.assert_close(fitted.denormalize(scaled), features)
    fitted.save(tmp_path / "statistics")
    again = Normalizer.load(tmp_path / "statistics")
    assert torch.equal(again.mean, fitted.mean) and torch.equal(again.std, fitted.std)
    assert torch.equal(Normalizer.identity(263).normalize(features), features)


def test_published_file_names_are_found(tmp_path):
    np.save(tmp_path / "Mean.npy", np.zeros(263))
    np.save(tmp_path / "Std.npy", np.ones(263))
    assert Normalizer.load(tmp_path, "data").width == 263


def _constant(yaw_std, kind, width=263):
    std = torch.full((width,), 0.3)
    std[0] = yaw_std
    return Normalizer(torch.zeros(width), std, kind)


@pytest.mark.parametrize("kind, right, wrong", [("guo_eval", 5.1e-4, 0.0128), ("data", 0.0128, 5.1e-4)])
def test_exchanged_statistics_are_caught(kind, right, wrong):
    _constant(right, kind).check(HUMANML3D)
    with pytest.raises(DataError, match="Guo evaluator"):
        _constant(wrong, kind).check(HUMANML3D)


def test_other_bad_statistics_are_caught(tmp_path):
    with pytest.raises(DataError, match="251 columns"):
        _constant(0.1, "fitted", 251).check(HUMANML3D)
    for bad in (0.0, float("nan")):
        with pytest.raises(DataError, match="not above 0"):
            _constant(bad, "fitted").check(HUMANML3D)
    with pytest.raises(DataError, match="kind 'mine'"):
        _constant(0.1, "mine")
    with pytest.raises(DataError, match="both have to be"):
        Normalizer(torch.zeros(3), torch.ones(4))
    with pytest.raises(DataError, match="no mean.npy"):
        Normalizer.load(tmp_path)
    (tmp_path / "mean.npy").write_text("not numpy")
    with pytest.raises(DataError, match="not a readable"):
        Normalizer.load(tmp_path)


def test_fit_refuses_nothing_and_nan():
    with pytest.raises(DataError, match="no clips"):
        Normalizer.fit([torch.zeros(0, 263)], HUMANML3D)
    clips = _clips()
    clips[1][3, 7] = float("nan")
    with pytest.raises(DataError, match="clip 1 "):
        Normalizer.fit(clips, HUMANML3D)
    with pytest.raises(DataError, match="263"):
        Normalizer.fit([torch.zeros(4, 251)], HUMANML3D)


@pytest.mark.parametrize("name", ["motion272", "motion276"])
def test_statistics_of_other_columns_are_fitted_and_checked(name):
    """272 columns share a std in each block, 276 have one each, as published; nothing tells evaluators' ones."""
    representation = get_representation(name)
    generator = torch.Generator().manual_seed(0)
    scale = torch.linspace(0.01, 2, representation.width)
    clips = [torch.randn(length, representation.width, generator=generator) * scale for length in (30, 50)]
    fitted = Normalizer.fit(clips, representation, kind="data").check(representation)
    alone = torch.cat(clips).double().std(0, correction=0).float()
    for part in representation.blocks.values():
        wanted = alone[part].mean().expand(part.stop - part.start) if name == "motion272" else alone[part]
        torch.testing.assert_close(fitted.std[part], wanted)
    biased = Normalizer.fit(clips, representation, feature_bias=25)
    root = representation.columns("root")
    torch.testing.assert_close(biased.std[root] * 25, fitted.std[root])
    with pytest.raises(DataError, match=f"'{name}' has {representation.width}"):
        Normalizer.identity(263).check(representation)
