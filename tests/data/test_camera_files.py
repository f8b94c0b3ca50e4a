"""SMPL-X parameters out of videos as 276 columns: numbers as published, cameras, frame rates, and bad files."""

from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from mld.data.camera_files import Rest
from mld.errors import DataError, RequestError
from mld.motion.motion import Motion
from mld.motion.representations.motion276 import AXES, from_6d
from mld.motion.skeletons import get_skeleton
from prepare.data import main

FIXTURE = Path(__file__).parents[1] / "parity" / "cases" / "vimogen_data" / "rep276_build.npz"
NAMES = ("global_orient", "body_pose", "transl")


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Parameters as a camera sees them, and what the published converter makes of them."""
    arrays = np.load(FIXTURE)
    return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture
def body(published, monkeypatch) -> Rest:
    """The body whose joints the published numbers are of, in place of the user's body model."""
    turns = torch.cat([published["hmr_global_orient"], published["hmr_body_pose"]], 1).double().unflatten(1, (22, 3))
    local, joints = roma.rotvec_to_rotmat(turns), published["hmr_joints"].double()
    parents = get_skeleton("smpl22").parents
    world, rest = [local[:, 0]], [(joints[:, 0] - published["hmr_transl"].double()).mean(0)]
    for joint in range(1, 22):
        parent = parents[joint]
        bone = world[parent].transpose(-1, -2) @ (joints[:, joint] - joints[:, parent])[..., None]
        rest.append(rest[parent] + bone[..., 0].mean(0))
        world.append(world[parent] @ local[:, joint])
    found = Rest(torch.stack(rest), "joints of the body model TOY.npz")
    monkeypatch.setattr(Rest, "find", classmethod(lambda cls, folder=None: found))
    return found


def _parameters(published, **more) -> dict:
    return {name: published[f"hmr_{name}"].clone() for name in NAMES} | more


def _hmr(*arguments: object) -> int:
    return main(["hmr", *map(str, arguments)])


@pytest.mark.parametrize("kind", ["tensor", "numpy", "npz", "batch"])
def test_numbers_are_those_of_the_published_converter(published, body, tmp_path: Path, kind: str) -> None:
    content = _parameters(published)
    if kind == "numpy":
        content = {name: value.numpy() for name, value in content.items()}
    if kind == "batch":
        content = {name: value[None] for name, value in content.items()}
        content["body_pose"] = content["body_pose"].unflatten(-1, (21, 3))
    path = tmp_path / ("in.npz" if kind == "npz" else "in.pt")
    np.savez(path, **content) if kind == "npz" else torch.save(content, path)
    assert _hmr(path, tmp_path / "out.pt") == 0
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    torch.testing.assert_close(found["motion"], published["floor_motion"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found["extrinsic"], published["floor_extrinsic"], atol=1e-5, rtol=1e-5)
    assert _hmr(path, tmp_path / "raised.pt", "--no-floor") == 0
    found = torch.load(tmp_path / "raised.pt", weights_only=True)
    torch.testing.assert_close(found["motion"], published["nofloor_motion"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("shape", ["number", "0-d", "row", "column", "numpy"])
def test_the_lens_is_a_number_however_it_is_written(published, body, tmp_path: Path, shape: str) -> None:
    def lens(value: float):
        made = torch.tensor(value)
        kinds = {"number": value, "0-d": made, "row": made.repeat(40), "column": made.repeat(40)[:, None]}
        return np.float32(value) if shape == "numpy" else kinds[shape]

    given = _parameters(published, focal_length=lens(900.0), width=lens(640.0), height=lens(480.0))
    torch.save(given, tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt") == 0
    wanted = torch.tensor([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
    assert torch.equal(torch.load(tmp_path / "b.pt", weights_only=True)["intrinsic"], wanted)


def test_without_a_lens_the_intrinsic_is_the_identity(published, body, tmp_path: Path, capsys) -> None:
    torch.save(_parameters(published, focal_length=900.0), tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt") == 0
    assert torch.equal(torch.load(tmp_path / "b.pt", weights_only=True)["intrinsic"], torch.eye(3))
    assert "so the intrinsic is the identity" in capsys.readouterr().out


def test_the_camera_sees_the_motion_where_it_was(published, body, tmp_path: Path) -> None:
    torch.save(_parameters(published), tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt") == 0
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    joints = found["motion"][:, 126:192].unflatten(1, (22, 3))
    turn, place = from_6d(found["extrinsic"][0, :6]), found["extrinsic"][0, 6:]
    seen = (joints @ turn + place) * torch.tensor([1.0, 1.0, -1.0])
    # As published, a point comes out mirrored in the camera: what is divided by the depth is the same.
    torch.testing.assert_close(-seen, published["hmr_joints"][:-1], atol=1e-4, rtol=0)


def test_videos_of_16_frames_a_second_become_20(published, body, tmp_path: Path, capsys) -> None:
    torch.save(_parameters(published), tmp_path / "a.pt")
    torch.save(_parameters(published, fps=torch.tensor(16.0)), tmp_path / "said.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt", "--fps", 16) == _hmr(tmp_path / "said.pt", tmp_path / "c.pt") == 0
    found, said = (torch.load(tmp_path / name, weights_only=True)["motion"] for name in ("b.pt", "c.pt"))
    assert torch.equal(found, said) and len(found) == int(39 / 16 * 20)  # 39 steps last as long in both
    plain = published["floor_motion"]
    torch.testing.assert_close(found[-1, 270:273], plain[38, 270:273], atol=0.02, rtol=0)
    speed, before = found[:, 273:].norm(dim=-1).mean() * 20, plain[:, 273:].norm(dim=-1).mean() * 16
    assert float(speed / before) == pytest.approx(1, abs=0.05)
    assert "16 fps made 20" in capsys.readouterr().out
    assert _hmr(tmp_path / "said.pt", tmp_path / "d.pt", "--keep-frames") == 0
    kept = torch.load(tmp_path / "d.pt", weights_only=True)["motion"]
    torch.testing.assert_close(kept, plain, atol=1e-5, rtol=1e-5)


def test_without_a_body_model_bones_are_our_own_and_it_is_said(published, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.delenv("MLD_BODY_MODELS", raising=False)
    torch.save(_parameters(published), tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt") == 0
    assert "no body model (--body-models, or MLD_BODY_MODELS), so bones are those of a" in capsys.readouterr().out
    found = torch.load(tmp_path / "b.pt", weights_only=True)["motion"]
    torch.testing.assert_close(found[:, :126], published["floor_motion"][:, :126], atol=1e-4, rtol=0)
    joints, skeleton = found[:, 126:192].unflatten(1, (22, 3)), get_skeleton("smpl22")
    for joint in (4, 7, 18):
        length = (joints[:, joint] - joints[:, skeleton.parents[joint]]).norm(dim=-1)
        torch.testing.assert_close(length, torch.full_like(length, skeleton.bone_lengths[joint]), atol=1e-4, rtol=0)
    assert float(joints[..., 2].min()) == pytest.approx(0, abs=1e-5)


def test_a_folder_of_body_models_has_to_hold_one(published, tmp_path: Path) -> None:
    torch.save(_parameters(published), tmp_path / "a.pt")
    with pytest.raises(RequestError, match="holds no smplx/SMPLX_NEUTRAL.npz"):
        _hmr(tmp_path / "a.pt", tmp_path / "b.pt", "--body-models", tmp_path)


def test_joints_are_those_of_the_body_model_of_the_user(published, tmp_path: Path) -> None:
    rest = torch.randn(22, 3, generator=torch.Generator().manual_seed(0)).double() * 0.1
    (tmp_path / "models" / "smplx").mkdir(parents=True)
    np.savez(tmp_path / "models/smplx/SMPLX_NEUTRAL.npz", v_template=rest.numpy(), J_regressor=np.eye(22),
             shapedirs=np.ones((22, 3, 10)))  # fmt: skip
    torch.save(_parameters(published, betas=torch.ones(10)), tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "b.pt", "--body-models", tmp_path / "models") == 0
    joints = torch.load(tmp_path / "b.pt", weights_only=True)["motion"][:, 126:192].unflatten(1, (22, 3))
    knee = (joints[:, 4] - joints[:, 1]).norm(dim=-1)
    torch.testing.assert_close(knee, (rest[4] - rest[1]).norm().float().expand_as(knee), atol=1e-4, rtol=0)


def test_a_folder_goes_on_past_bad_files(published, body, tmp_path: Path, capsys) -> None:
    given = tmp_path / "in"
    (given / "more").mkdir(parents=True)
    good = _parameters(published)
    torch.save(good, given / "good.pt")
    torch.save(good, given / "more" / "good.pt")
    bad = {
        "short": ({**good, "transl": good["transl"][:9]}, "'transl': shape (9, 3), the poses have 40 frames"),
        "nan": ({**good, "body_pose": good["body_pose"] * float("nan")}, "NaN, infinity or an impossible number"),
        "still": ({name: value[:1] for name, value in good.items()}, "1 frame; columns are of a frame and the step"),
        "none": ({"global_orient": good["global_orient"]}, "no array 'body_pose'; it has global_orient"),
        "list": ([1, 2], "holds no dictionary with global_orient, body_pose, transl"),
        "joints": ({**good, "body_pose": good["body_pose"][:, :30]}, "poses of 33 columns"),
    }
    for name, (content, _) in bad.items():
        torch.save(content, given / f"{name}.pt")
    assert _hmr(given, tmp_path / "out") == 1
    told = capsys.readouterr()
    assert "2 of 8 files converted" in told.out and len(told.err.strip().split("\n")) == len(bad)
    for name, (_, message) in bad.items():
        (line,) = [line for line in told.err.split("\n") if f"{name}.pt" in line]
        assert message in line and len(line) <= 320
    assert sorted(path.relative_to(tmp_path).as_posix() for path in (tmp_path / "out").rglob("*.pt")) == [
        "out/good.pt", "out/more/good.pt"]  # fmt: skip


def test_npy_files_have_their_cameras_beside(published, body, tmp_path: Path) -> None:
    torch.save(_parameters(published), tmp_path / "a.pt")
    assert _hmr(tmp_path / "a.pt", tmp_path / "out", "--format", "npy") == 0
    np.testing.assert_allclose(np.load(tmp_path / "out/a.npy"), published["floor_motion"], atol=1e-5, rtol=1e-5)
    camera = np.load(tmp_path / "out/cameras/a.npz")
    assert camera["extrinsic"].shape == (39, 9) and camera["intrinsic"].shape == (3, 3)
    motion = Motion.load(tmp_path / "out/a.npy")
    wanted = published["floor_motion"][:, 126:192].unflatten(1, (22, 3)) @ torch.tensor(AXES).T
    torch.testing.assert_close(motion.joints, wanted, atol=1e-4, rtol=0)


def test_nothing_is_written_over_what_is_read(published, tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        torch.save(_parameters(published), tmp_path / name)
    with pytest.raises(DataError, match="would be written over what is read"):
        _hmr(tmp_path / "a.pt", tmp_path)
    with pytest.raises(RequestError, match="one file, 2 are to be converted; name a folder"):
        _hmr(tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "one.pt")
