"""Model folders whose large matrices have 8 bits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from commands.common import run
from mld.checkpoint import load_model, open_model, save_model
from mld.errors import CheckpointError
from mld.models.packed_weights import BITS, pack_matrix
from mld.models.tokenizers.vqvae import VQVAE, VQVAEConfig
from mld.motion.normalizer import Normalizer
from prepare.release import main

NAME = "model.safetensors"


@pytest.fixture
def model() -> VQVAE:
    torch.manual_seed(3)
    statistics = Normalizer(torch.randn(263), torch.rand(263) + 0.5, "fitted")
    return VQVAE(VQVAEConfig(width=64, code_dim=64, depth=1, codebook_size=64), statistics).eval()


def test_matrices_and_kernels_come_back_nearly_and_the_rest_as_in_half_precision(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "whole")
    save_model(model, tmp_path / "packed", dtype="int8")
    size, small = ((tmp_path / name / NAME).stat().st_size for name in ("whole", "packed"))
    assert small < 0.34 * size
    stored, loaded = load_file(tmp_path / "packed" / NAME), load_model(tmp_path / "packed").state_dict()
    packed = {key.removesuffix(f".q{BITS}") for key in stored if key.endswith(f".q{BITS}")}
    own = model.state_dict()
    assert any(own[key].ndim == 3 for key in packed), "kernels of convolutions are packed as well"
    for key, value in own.items():
        assert loaded[key].dtype == value.dtype and loaded[key].shape == value.shape
        if key in packed:
            assert (loaded[key] - value).norm() <= 0.01 * value.norm()
        elif key.startswith("feature_"):
            assert torch.equal(loaded[key], value)
        else:
            torch.testing.assert_close(loaded[key], value, rtol=1e-3, atol=1e-4)


def test_what_was_packed_is_packed_the_same_again_and_may_be_rounded_for_speed(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "packed", dtype="int8")
    again = load_model(tmp_path / "packed")
    save_model(again, tmp_path / "again", dtype="int8")
    assert (tmp_path / "packed" / NAME).read_bytes() == (tmp_path / "again" / NAME).read_bytes()
    assert open_model(tmp_path / "packed", weights="int8")[0].kind == "tokenizer"


def test_several_files_hold_the_numbers_of_a_weight_and_their_scales_together(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "one", dtype="int8")
    save_model(model, tmp_path / "more", dtype="int8", largest_file=60_000)
    assert len(list((tmp_path / "more").glob("*.safetensors"))) > 2
    one, more = (load_model(tmp_path / name).state_dict() for name in ("one", "more"))
    assert all(torch.equal(one[key], more[key]) for key in one)


@pytest.mark.parametrize("dtype", ["int8", "float16"])
def test_numbers_that_are_too_large_are_refused_and_nothing_is_written(dtype: str, model, tmp_path: Path) -> None:
    key, value = next((key, value) for key, value in model.named_parameters() if value.ndim == 3)
    value.data[0, 0, 0] = 1e9
    with pytest.raises(CheckpointError, match=f"{key} holds numbers that are too large for {dtype}"):
        save_model(model, tmp_path / "m", dtype=dtype)
    assert not (tmp_path / "m").exists()


def test_release_packs(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "model")
    assert run(main, [str(tmp_path / "model"), str(tmp_path / "out"), "--licence", "MIT", "--dtype", "int8"]) == 0
    assert any(key.endswith(".q8") for key in load_file(tmp_path / "out" / NAME))
    assert '"weights_dtype": "int8"' in (tmp_path / "out" / "provenance.json").read_text()


def _without_scale(stored: dict[str, torch.Tensor], key: str) -> None:
    del stored[f"{key}_scale"]


def _of_few_rows(stored: dict[str, torch.Tensor], key: str) -> None:
    stored[key] = stored[key][:-1].clone()


def _of_other_columns(stored: dict[str, torch.Tensor], key: str) -> None:
    stored.update(pack_matrix(key.removesuffix(".q8"), torch.randn(64, 128), 8, 64))


def _broken(stored: dict[str, torch.Tensor], key: str) -> None:
    stored[f"{key}_scale"][0, 0] = float("nan")


def _of_another_type(stored: dict[str, torch.Tensor], key: str) -> None:
    stored[key] = stored[key].float()


def _there_twice(stored: dict[str, torch.Tensor], key: str) -> None:
    stored[key.removesuffix(".q8")] = torch.zeros(64, 192)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_there_twice, "twice, packed and as it is"), (_without_scale, "missing .*weight"),
        (_of_few_rows, "has shape"), (_of_other_columns, "has shape"), (_broken, "NaN or infinite"),
        (_of_another_type, "not uint8 and float16"),
    ],
)  # fmt: skip
def test_damage_is_told_in_one_line(change, message: str, model, tmp_path: Path) -> None:
    file = save_model(model, tmp_path / "packed", dtype="int8") / NAME
    stored = load_file(file)
    key = next(key for key in stored if key.endswith(".weight.q8"))
    change(stored, key)
    save_file(stored, file, {"format": "pt"})
    with pytest.raises(CheckpointError, match=message) as found:
        load_model(tmp_path / "packed")
    assert "\n" not in str(found.value)
