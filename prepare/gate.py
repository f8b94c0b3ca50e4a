"""`python -m prepare.gate --meta META.json`: which reference motions are good enough, written into the meta file."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

EPILOG = """\
META.json is a list of entries with 'motion_path' (276 columns, .pt or .npy) and 'prompt'. 'use_ref_motion' becomes true
where the jitter is below the threshold and the judge finds that the motion is what the prompt says; without a judge the
jitter decides alone. All entries and all other keys stay; the file as it was is kept as META.json.bak. A reference that
cannot be read is not used. Where a judge fails, the entry stays as it is, and the same command asks again.

A judge is asked by --judge alone: https://HOST/v1#MODEL (OpenAI-compatible; key in MLD_JUDGE_KEY or OPENAI_API_KEY), a
folder of a vision-language model, or replay:FOLDER with recorded answers.

examples:
  python -m prepare.gate --meta data/mbench/meta.json
  python -m prepare.gate --meta meta.json --judge https://HOST/v1#MODEL --threads 8 --report out/gate.json
  python -m prepare.gate --meta meta.json --root ~/mbench --fps 16 --out meta_gated.json --sheet gate.png"""
SHEET = 8  # motions of each kind on the sheet: those nearest to the threshold


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some references could not be read or judged."""
    options = _parse(arguments)
    from commands.models import device_of
    from mld.evaluation.judge import open_judge
    from mld.evaluation.judge.gate import Gate
    from mld.evaluation.judge.gate_files import Meta
    from mld.evaluation.judge.gate_run import GateRun, check_places
    from mld.evaluation.judge.recorded import recorded

    _check(options)
    meta_file, out, sheet = Path(options.meta), _path(options.out), _path(options.sheet)
    report = _path(options.report) or meta_file.with_name(f"{meta_file.stem}.gate.json")
    check_places(meta_file, out, report=report, sheet=sheet)
    meta, judge = Meta(meta_file), None
    if options.judge is not None:
        judge = open_judge(options.judge, device_of(options))
        judge = recorded(judge, _path(options.answers) or report.with_suffix(".answers"))
    gate = Gate(options.jitter_threshold, judge)
    going = GateRun(meta, gate, report, _path(options.root), options.fps, options.limit, options.threads)
    print(f"{meta_file}: {len(going.chosen)} of {len(meta.entries)} entries, rule: {gate.rule}")
    going.run(_tell)
    written, kept = meta.write(going.flags, out)
    failed = sum(bool(record.error) for record in going.records.values())
    used, refused = sum(going.flags.values()), len(going.flags) - sum(going.flags.values())
    print(f"{used} references are used, {refused} are not, {len(going.chosen) - used - refused} stay as they are; "
          f"{failed} failed, {going.reused} known from before; report: {report}")  # fmt: skip
    print(f"{meta_file}: no flag changed, not written" if written is None else f"{written} written"
          + (f"; as it was: {kept}" if kept else ""))  # fmt: skip
    if sheet is not None:
        _draw(going, sheet)
    return EXIT_SOME_FAILED if failed else EXIT_OK


def _tell(record) -> None:
    from mld.errors import one_line

    if record.error:
        print(one_line(f"failed: {record.global_id}: {record.error}"), file=sys.stderr)


def _draw(going, sheet: Path) -> None:
    """References that were used and that were refused, those nearest to the threshold first."""
    from mld.evaluation.judge.gate import JITTER
    from mld.evaluation.judge.references import read_reference
    from mld.view.figure import contact_sheet

    threshold, motions, titles = going.gate.threshold, [], []
    decided = [record for record in going.records.values() if record.motion_metrics.get(JITTER) is not None]
    decided.sort(key=lambda record: abs(record.motion_metrics[JITTER] - threshold))
    for flag, word in ((True, "used"), (False, "refused"), (None, "open")):
        for record in [one for one in decided if one.final_quality is flag][:SHEET]:
            motions.append(read_reference(going.place(record), going.fps).motion)
            why = {True: ", matches", False: ", does not match", None: ""}[record.vlm_matches]
            titles.append(f"{word}: {record.global_id}, jitter {record.motion_metrics[JITTER]:.4f}{why}: "
                          f"{record.prompt}")  # fmt: skip
    if motions:
        contact_sheet(motions, sheet, titles)
        print(f"{sheet} shows {len(motions)} of them")
    else:
        print(f"{sheet}: no reference could be read, so nothing is drawn", file=sys.stderr)


def _check(options: argparse.Namespace) -> None:
    from mld.errors import RequestError

    if not 0 < options.jitter_threshold < math.inf:
        raise RequestError(f"--jitter-threshold {options.jitter_threshold:g}: a number above 0 is needed")
    if options.fps is not None and not 1 <= options.fps <= 1000:
        raise RequestError(f"--fps {options.fps:g}: frames per second from 1 to 1000 are needed")
    if options.threads < 1 or (options.limit is not None and options.limit < 1):
        raise RequestError("--threads and --limit are whole numbers from 1 on")
    if options.root and not Path(options.root).is_dir():
        raise RequestError(f"--root {options.root}: no such folder")
    if options.answers and options.judge is None:
        raise RequestError("--answers keeps those of a judge; name one by --judge")


def _path(name: str | None) -> Path | None:
    return Path(name).expanduser() if name else None


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    command = parser("prepare.gate", "Decide which reference motions are good enough.", EPILOG)
    command.add_argument("--meta", required=True, metavar="META.json", help="list of entries; gets the flags")
    command.add_argument("--out", metavar="FILE", help="write all entries there and leave META.json as it is")
    command.add_argument("--root", metavar="DIR", help="where relative motion_path begin (default: the folder of "
                         "META.json, or one above it where the file is there)")  # fmt: skip
    command.add_argument("--fps", type=float, metavar="N", help="frame rate of the references, 16 for "
                         "published ones: brought to 20 fps first (default: frames count as they are)")  # fmt: skip
    command.add_argument("--jitter-threshold", type=float, default=0.04, metavar="X", help="metres per frame squared "
                         "(default: 0.04, as published)")  # fmt: skip
    command.add_argument("--judge", metavar="SPEC", help="who says whether a motion is what its prompt says (default: "
                         "nobody)")  # fmt: skip
    command.add_argument("--answers", metavar="DIR", help="folder of the judge's answers, used again (default: beside "
                         "the report)")  # fmt: skip
    command.add_argument("--report", metavar="FILE", help="JSON of all decisions (default: META.gate.json)")
    command.add_argument("--sheet", metavar="PNG", help="draw references that were used and refused")
    command.add_argument("--limit", type=int, metavar="N", help="look at the first N entries that have a motion")
    command.add_argument("--threads", type=int, default=1, metavar="N", help="questions at once (default: 1)")
    command.add_argument("--device", default="auto", help="of a local judge: cpu, cuda, ... (default: a GPU if any)")
    return command.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(run(main))
