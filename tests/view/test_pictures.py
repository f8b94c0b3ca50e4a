"""Contact sheets and videos: sizes, colours, captions, cameras; every frame and every row is there."""

import numpy as np
import pytest
from PIL import Image

from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton
from mld.view import figure, scene
from mld.view.figure import contact_sheet, draw_contact_sheet
from mld.view.text import font, wrap
from mld.view.video import HEIGHT, WIDTH, render_frames, video

# A standing person: pelvis at 0.9 m, facing +z, left side towards +x.
STANDING = {
    "smpl22": [
        (0, 0.93, 0), (0.07, 0.85, 0), (-0.07, 0.85, 0), (0, 1.05, 0), (0.1, 0.45, 0), (-0.1, 0.45, 0), (0, 1.18, 0),
        (0.1, 0.08, -0.03), (-0.1, 0.08, -0.03), (0, 1.24, 0), (0.1, 0.02, 0.1), (-0.1, 0.02, 0.1), (0, 1.46, 0),
        (0.08, 1.36, 0), (-0.08, 1.36, 0), (0, 1.55, 0.04), (0.18, 1.39, 0), (-0.18, 1.39, 0), (0.2, 1.12, 0),
        (-0.2, 1.12, 0), (0.2, 0.87, 0.05), (-0.2, 0.87, 0.05),
    ],
    "kit21": [
        (0, 0.93, 0), (0, 1.05, 0), (0, 1.2, 0), (0, 1.4, 0), (0, 1.6, 0), (-0.18, 1.39, 0), (-0.2, 1.12, 0),
        (-0.2, 0.87, 0.05), (0.18, 1.39, 0), (0.2, 1.12, 0), (0.2, 0.87, 0.05), (-0.08, 0.9, 0), (-0.1, 0.5, 0),
        (-0.1, 0.1, 0), (-0.1, 0.03, 0.06), (-0.1, 0.02, 0.15), (0.08, 0.9, 0), (0.1, 0.5, 0), (0.1, 0.1, 0),
        (0.1, 0.03, 0.06), (0.1, 0.02, 0.15),
    ],
}  # fmt: skip


def gliding(frames: int = 24, skeleton: str = "smpl22", fps: float = 20.0, speed: float = 1.0) -> Motion:
    """The standing person moved along +z at `speed` m/s."""
    joints = np.repeat(np.array(STANDING[skeleton], dtype=np.float32)[None], frames, axis=0)
    joints[..., 2] += (np.arange(frames, dtype=np.float32) * speed / fps)[:, None]
    return Motion(joints, fps, get_skeleton(skeleton))


def share_of(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    """Share of pixels within a small distance of a colour."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.int32)
    return float((np.abs(pixels - np.array(colour)).max(axis=-1) < 12).mean())


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_every_limb_has_its_colour(skeleton):
    sheet = draw_contact_sheet([gliding(skeleton=skeleton)], ["a person stands"])
    for colour in scene.CHAIN_COLOURS:
        assert share_of(sheet, colour) > 1e-4


def test_sheet_is_a_png_with_one_row_per_motion(tmp_path):
    contact_sheet([gliding(), gliding(frames=1), gliding(fps=12.5)], tmp_path / "sheet.png", ["one", "two"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        single = draw_contact_sheet([gliding()])
        assert sheet.width == single.width
        assert sheet.height > 2.5 * single.height
    assert [entry.name for entry in tmp_path.iterdir()] == ["sheet.png"]


def test_long_captions_wrap_and_stay_inside():
    words = "a person walks forward slowly " * 20
    lines = wrap(words, 17, 400)
    assert len(lines) == 2
    assert lines[-1].endswith("...")
    assert all(font(17).getlength(line) <= 400 for line in lines)
    assert all(font(17).getlength(line) <= 50 for line in wrap("x" * 300, 17, 50, max_lines=9))
    assert wrap("", 17, 400) == []
    draw_contact_sheet([gliding()], [words])


def test_non_latin_captions_do_not_fail():
    draw_contact_sheet([gliding(frames=2)], ["человек идёт \N{PERSON WITH FOLDED HANDS} 人が歩く"])


def test_sheet_refuses_nothing_and_surplus_titles():
    with pytest.raises(ValueError, match="at least one motion"):
        draw_contact_sheet([])
    with pytest.raises(ValueError, match="2 titles"):
        draw_contact_sheet([gliding()], ["one", "two"])


def test_root_map_tells_distance_and_turns():
    straight, _, length = figure._root_map(gliding(frames=41), np.array([0, 40]))
    assert length == pytest.approx(2.0, abs=1e-4)
    dark = np.argwhere(np.abs(np.asarray(straight, dtype=np.int32) - np.array(scene.FAINT_INK)).max(axis=-1) < 12)
    assert np.ptp(dark[:, 0]) > 5 * np.ptp(dark[:, 1])  # first heading points up, so a straight walk is a vertical line


def test_facing_and_camera_follow_the_conventions():
    motion = gliding()
    assert scene.facing_yaw(motion) == pytest.approx(0.0, abs=1e-6)
    turned = motion.joints[..., [2, 1, 0]] * np.array([1, 1, -1], dtype=np.float32)  # +z -> +x
    assert scene.facing_yaw(Motion(turned, 20.0, motion.skeleton)) == pytest.approx(np.pi / 2, abs=1e-6)
    camera = scene.Camera((0.0, 0.0, 0.0), yaw=0.0, elevation=0.0, scale=100.0, centre=(50.0, 60.0))
    pixels, near = camera.project(np.array([[1.0, 2.0, 3.0]]))
    np.testing.assert_allclose(pixels, [[150.0, -140.0]], atol=1e-9)  # in front of the person: their left is our right
    np.testing.assert_allclose(near, [3.0], atol=1e-9)
    perspective = scene.Camera((0.0, 0.0, 0.0), 0.0, 0.0, 100.0, (0.0, 0.0), distance=4.0)
    assert perspective.project(np.array([1.0, 0.0, 2.0]))[0][0] == pytest.approx(200.0)


def test_low_motions_get_their_own_floor():
    sunk = gliding()
    assert scene.floor_height(sunk) == 0.0
    low = Motion(sunk.joints - np.array([0, 1, 0], dtype=np.float32), 20.0, sunk.skeleton)
    assert scene.floor_height(low) == pytest.approx(-0.98, abs=0.01)


def test_video_is_h264_yuv420p_with_every_frame(tmp_path):
    import imageio_ffmpeg

    video(gliding(frames=13), tmp_path / "clip.mp4", "a person glides forward")
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "clip.mp4"))
    facts = next(frames)
    assert (facts["codec"], facts["size"], facts["fps"]) == ("h264", (WIDTH, HEIGHT), 20.0)
    assert facts["pix_fmt"].startswith("yuv420p")
    pictures = [np.frombuffer(frame, np.uint8) for frame in frames]
    assert len(pictures) == 13
    assert np.abs(pictures[0].astype(int) - pictures[-1].astype(int)).max() > 60  # the ground moves past
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.mark.parametrize("speed", [0.0, 3.0])
def test_camera_keeps_the_figure_in_view(speed):
    frames = list(render_frames(gliding(frames=20, speed=speed)))
    for picture in (frames[0], frames[-1]):
        pixels = np.asarray(picture, dtype=np.int32)
        rows, columns = np.nonzero(np.abs(pixels - np.array(scene.CHAIN_COLOURS[0])).max(axis=-1) < 12)
        assert len(rows) > 20
        assert WIDTH * 0.15 < columns.mean() < WIDTH * 0.85
