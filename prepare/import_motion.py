"""`python -m prepare.import_motion IN... OUT`: motion files of any kind onto the model skeleton, with a report."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

if TYPE_CHECKING:
    from mld.motion.motion import Motion
    from mld.motion.rig.mapping import JointMapping
    from mld.motion.rig.retarget import MappingReport

EPILOG = """\
examples:
  python -m prepare.import_motion walk.bvh walk.npy
  python -m prepare.import_motion mocap/*.amc mocap/bvh imported --format npy,glb --sheet imported.png
  python -m prepare.import_motion dance.fbx.glb dance.npy --mapping my_joints.yaml --unit 0.01 --up z

Reads BVH, ASF/AMC, SMPL .npz, glTF/GLB/VRM animations, .npy and .pt, and what other systems save in the last. Says for
each file which joints were mapped, guessed or placed by proportion, which unit, vertical axis and frame rate were
found, and how the feet stand. Of a file with several motions a folder gets each; --clip takes one."""


@dataclass(frozen=True)
class _Source:
    """A file with the path that it has below what was named, and the animation that is meant, None where it has one."""

    path: Path
    below: Path
    clip: str | None = None


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some files could not be read."""
    options = _parse(arguments)
    from mld.errors import MldError
    from mld.motion.importing import each_clip
    from mld.motion.rig.mapping import get_mapping

    mapping = get_mapping(options.mapping) if options.mapping else None
    files = list(_files([Path(name) for name in options.files]))
    if not _is_file(Path(options.out)) and options.clip is None:
        files = [_Source(file.path, file.below, clip) for file in files for clip in each_clip(file.path)]
    targets = _targets(files, Path(options.out), options.format)
    shown: list[tuple[Motion, str]] = []
    failed = 0
    for source, written in zip(files, targets):
        try:
            motion, report, floor = _import(source, options, mapping)
            for target in written:
                motion.save(target)
        except MldError as error:
            failed += 1
            print(f"left out: {error}", file=sys.stderr)
            continue
        name = f"{source.path}{'' if source.clip is None else f', animation {source.clip}'}"
        print("\n  ".join([f"{name} -> {', '.join(map(str, written))}", *report.lines(), *floor]))
        shown.append((motion, source.path.name if source.clip is None else f"{source.path.name} {source.clip}"))
    if options.sheet and shown:
        from mld.view.figure import contact_sheet

        contact_sheet([motion for motion, _ in shown], options.sheet, [title for _, title in shown])
        print(f"{options.sheet} shows them")
    print(f"{len(shown)} of {len(files)} {'motions' if any(source.clip for source in files) else 'files'} imported")
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _import(source: _Source, options: argparse.Namespace, mapping: JointMapping | None
            ) -> tuple[Motion, MappingReport, list[str]]:  # fmt: skip
    from mld.motion.carry import on_skeleton
    from mld.motion.edit import center, face_forward, resample
    from mld.motion.importing import import_report, on_floor

    motion, report = import_report(
        source.path, options.source_fps, mapping, options.unit, options.up, options.skeleton,
        options.clip if source.clip is None else source.clip,
    )  # fmt: skip
    notes = []
    if motion.skeleton.name != "smpl22":
        notes.append(f"carried from the {motion.skeleton.num_joints} joints of {motion.skeleton.name} onto smpl22")
        motion = on_skeleton(motion, "smpl22")
    if abs(options.fps - motion.fps) > 1e-6:
        before = motion.fps
        motion = resample(motion, options.fps)
        notes.append(f"resampled from {before:g} to {motion.fps:g} frames per second: {motion.num_frames} frames")
    if not options.keep_place:
        motion, note = on_floor(face_forward(center(motion)))
        notes.append(note)
    return motion, report, notes


def _files(given: list[Path]) -> Iterator[_Source]:
    """Every motion file that was named or lies in a named folder."""
    from mld.errors import MotionFormatError
    from mld.motion.formats import readable_suffixes

    for path in given:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in readable_suffixes())
            found = [p for p in found if p.suffix.lower() != ".asf" and p.is_file()]
            if not found:
                raise MotionFormatError(f"{path}: no motion file in this folder ({', '.join(readable_suffixes())})")
            yield from (_Source(p, p.relative_to(path)) for p in found)
        elif path.is_file():
            yield _Source(path, Path(path.name))
        else:
            raise MotionFormatError(f"{path}: there is no such file")


def _is_file(out: Path) -> bool:
    """Whether OUT names a motion file, not a folder."""
    from mld.motion.formats import suffixes

    return out.suffix.lower() in suffixes()


def _targets(files: list[_Source], out: Path, formats: str) -> list[list[Path]]:
    """What is written for each file: OUT itself where it names a file, else files in the folder OUT."""
    from mld.errors import DataError
    from mld.motion.formats import suffixes
    from mld.motion.importing import clip_stem

    known = {suffix.lstrip(".") for suffix in suffixes()}
    wanted = [name.strip().lstrip(".").lower() for name in formats.split(",") if name.strip()]
    if _is_file(out):
        if len(files) > 1:
            raise DataError(f"{len(files)} files do not fit into the one file {out}; name a folder")
        return [[out]]
    wrong = [name for name in wanted if name not in known]
    if wrong or not wanted:
        raise DataError(f"--format {formats}: {', '.join(wrong) or 'nothing'} cannot be written; "
                        f"known: {', '.join(sorted(known))}")
    stems: list[str] = []
    taken: set[str] = set()
    for source in files:
        stem = clip_stem("_".join(source.below.with_suffix("").parts), source.clip)
        stem = stem if stem not in taken else f"{stem}_{source.path.suffix.lstrip('.')}"
        while stem in taken:
            stem += "_"
        taken.add(stem)
        stems.append(stem)
    return [[out / f"{stem}.{name}" for name in wanted] for stem in stems]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = parser("prepare.import_motion", "Motion files of any kind onto the model skeleton.", EPILOG)
    command.add_argument("files", nargs="+", metavar="IN", help="motion files, or folders of them")
    command.add_argument("out", metavar="OUT", help="a motion file, or a folder")
    command.add_argument("--format", default="npy", help="what to write into a folder, such as npy,bvh,glb (npy)")
    command.add_argument("--fps", type=float, default=20.0, help="frame rate to resample to (default: 20)")
    command.add_argument("--source-fps", type=float, help="frame rate of files that say none, or a wrong one")
    command.add_argument("--mapping", metavar="NAME|FILE.yaml", help="joint table (default: the one that fits)")
    command.add_argument("--unit", type=float, metavar="METRES", help="metres per unit (default: by the body's size)")
    command.add_argument("--up", metavar="AXIS", help="vertical axis of the file, y, z, -x ... (default: by posture)")
    command.add_argument("--skeleton", metavar="FILE.asf", help="skeleton of AMC files (default: the one next to them)")
    command.add_argument("--clip", metavar="NAME|NUMBER",
                         help="one of several animations of a file (default: each into a folder, else the fullest)")
    command.add_argument("--keep-place", action="store_true",
                         help="leave place, heading and height alone (default: on the floor at the origin, facing +z)")
    command.add_argument("--sheet", metavar="FILE.png", help="also draw a contact sheet")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
