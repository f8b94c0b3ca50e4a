"""Contact sheets and videos: sizes, colours, captions, cameras; every frame and every row is there."""

import numpy as np
import pytest
from PIL import Image

from mld.motion.edit import transform
from mld.motion.motion import Motion
from mld.motion.skeletons import get_skeleton
from mld.view import feet, figure, scene
from mld.view.figure import contact_sheet, draw_contact_sheet
from mld.view.frames import HEIGHT, WIDTH, draw_frames, picture, yuv
from mld.view.text import font, wrap
from mld.view.video import video
from tests.view.plain_video import render

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


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_heels_are_behind_the_ankles_on_the_floor(skeleton):
    joints = scene.positions(gliding(1, skeleton))[0]
    heels = feet.heels(joints, get_skeleton(skeleton))
    for (ankle, _, toes), heel in zip(feet.foot_lines(get_skeleton(skeleton)), heels, strict=True):
        sideways, up, forward = heel - joints[ankle]
        assert abs(sideways) < 0.01
        assert -0.08 < forward < -0.03  # behind
        assert abs(heel[1] - joints[toes, 1]) < 0.04  # about as low as the toes
        assert up < -0.03


@pytest.mark.parametrize("skeleton", ["smpl22", "kit21"])
def test_heels_move_with_the_foot_and_never_to_its_front(skeleton):
    motion = gliding(4, skeleton)
    heels = feet.heels(scene.positions(motion), motion.skeleton)
    moved = transform(motion, yaw=1.0, x=2.0)
    away = heels[:, :, None] - scene.positions(motion)[:, None]
    now = feet.heels(scene.positions(moved), moved.skeleton)[:, :, None] - scene.positions(moved)[:, None]
    np.testing.assert_allclose(np.linalg.norm(now, axis=-1), np.linalg.norm(away, axis=-1), atol=1e-5)
    joints = scene.positions(motion)[0]
    ankle, _, toes = feet.foot_lines(motion.skeleton)[0]
    knee = motion.skeleton.chains[0][2]
    length = np.linalg.norm(joints[toes] - joints[ankle])
    shin = (joints[ankle] - joints[knee]) / np.linalg.norm(joints[ankle] - joints[knee])
    for slope in (-0.05, 0.0, 0.05):  # a foot as straight as a dancer's, and a little more
        joints[toes] = joints[ankle] + length * (np.cos(slope) * shin + np.sin(slope) * np.array([0.0, 0.0, 1.0]))
        assert feet.heels(joints, motion.skeleton)[0][2] < joints[ankle, 2] - 0.05


def test_pictures_and_videos_say_which_side_is_which():
    assert scene.SIDES == (("left", (4, 1)), ("right", (3, 0)))
    sheet = draw_contact_sheet([gliding()], ["a person stands"])
    first = picture(next(draw_frames(gliding(frames=1))))
    width = round(scene.legend_width())
    facts = font(figure.SMALL_SIZE).getlength("1.2 s, 24 frames at 20 fps")
    left = round(sheet.width - 2 * figure.MARGIN - facts - width)
    for corner in (sheet.crop((left, 20, left + width, 45)), first.crop((12, 8, 12 + width, 28))):
        colours = [scene.CHAIN_COLOURS[chain] for _, chains in scene.SIDES for chain in chains]
        pixels = np.asarray(corner, dtype=np.int32)
        columns = [np.nonzero(np.abs(pixels - np.array(colour)).max(-1) < 12)[1] for colour in colours]
        assert all(len(found) > 10 for found in columns)
        assert [found.mean() for found in columns] == sorted(found.mean() for found in columns)


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
    frames = [picture(planes) for planes in draw_frames(gliding(frames=20, speed=speed))]
    for one in (frames[0], frames[-1]):
        pixels = np.asarray(one, dtype=np.int32)
        rows, columns = np.nonzero(np.abs(pixels - np.array(scene.CHAIN_COLOURS[0])).max(axis=-1) < 12)
        assert len(rows) > 20
        assert WIDTH * 0.15 < columns.mean() < WIDTH * 0.85


@pytest.mark.parametrize(("colour", "wanted"), [
    ((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((255, 0, 0), (81, 90, 240)),
    ((0, 0, 255), (41, 240, 110)),
])  # fmt: skip
def test_colours_are_those_of_bt601(colour, wanted):
    assert yuv(colour) == wanted


def as_in_a_video(plain: Image.Image) -> Image.Image:
    """With one colour for four pixels."""
    y, *colours = plain.convert("YCbCr").split()
    colours = [one.reduce(2).resize(one.size, Image.Resampling.BILINEAR) for one in colours]
    return Image.merge("YCbCr", (y, *colours)).convert("RGB")


@pytest.mark.parametrize(("skeleton", "speed"), [("smpl22", 1.0), ("kit21", 0.0), ("smpl22", 4.0)])
def test_frames_look_like_those_that_are_drawn_plainly(skeleton, speed):
    """Letters, figure, shadow, grid and trail in the same places in the same colours."""
    motion = gliding(frames=40, skeleton=skeleton, speed=speed)
    title = "a person glides " * 8
    for number, (planes, plain) in enumerate(zip(draw_frames(motion, title), render(motion, title), strict=True)):
        if number % 13:
            continue
        fast, slow = (np.asarray(one, dtype=np.int32) for one in (picture(planes), as_in_a_video(plain)))
        assert fast.shape == slow.shape == (HEIGHT, WIDTH, 3)
        assert (np.abs(fast - slow) - 1).clip(0).mean() < 1.0, "beyond what rounding does"
        blurred = [np.asarray(Image.fromarray(one.astype(np.uint8)).reduce(8), dtype=np.int32) for one in (fast, slow)]
        assert np.abs(blurred[0] - blurred[1]).max() < 20
        for rows in range(140, 420, 40):  # the grid beside the figure, from far to near
            dark = [(np.median(part) - part).mean() for part in (one[rows : rows + 40, :180] for one in (fast, slow))]
            assert dark[0] == pytest.approx(dark[1], rel=0.1, abs=0.1), "the grid is as dark"
            assert np.abs(np.subtract(*(one[rows // 8 : rows // 8 + 5, :22] for one in blurred))).max() < 6
        for colour in scene.CHAIN_COLOURS:  # greys are those of the grid, too
            near = [(np.abs(one - np.array(colour)).max(-1) < 12).sum() for one in (fast, slow)]
            assert near[0] == pytest.approx(near[1], rel=0.15, abs=30)


def test_who_waits_for_a_video_is_told_how_far_it_is(tmp_path):
    for suffix, frames in (("mp4", 13), ("gif", 13)):
        told = []
        gliding(frames=13).save(tmp_path / f"clip.{suffix}", on_frame=lambda *count, told=told: told.append(count))
        assert told == [(number, frames) for number in range(1, frames + 1)]
