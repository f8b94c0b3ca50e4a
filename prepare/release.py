"""python -m prepare.release MODEL OUT: a model folder to hand on: half precision, licence, credit and model card; with
`--push OWNER/NAME` also to the Hugging Face hub, from where `mld.load("OWNER/NAME")` opens it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.common import EXIT_OK, parser, run

if TYPE_CHECKING:
    from mld.models.contracts.network import Network

# What users of weights that learned from a data set have to repeat; it is added where provenance names the set.
CREDITS = {
    "cmu-mocap-text": "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with "
    "funding from NSF EIA-0196217.",
    "snu-mocap-text": "Contains motion capture data of the Movement Research Lab, Seoul National University "
    "(snumrl/ys2010, snumrl/VSports, snumrl/InteractiveAnimation, Apache License 2.0; converted, cut and captioned).",
}
EPILOG = """\
example:
  python -m prepare.release runs/quickstart/instruct/model out/my-model --licence MIT --about "walks and waves"
  python -m prepare.release motiongpt3 out/mine --licence MIT --push me/mine --private
  python -m prepare.release runs/mine/model out/mine --licence MIT --text-encoder packed_minilm   # opens without extras
"""


def main(arguments: Sequence[str]) -> int:
    command = parser("prepare.release", "Copy a model folder for others to use.", EPILOG)
    command.add_argument("model", metavar="MODEL", help="model folder to start from")
    command.add_argument("out", metavar="OUT", help="folder to write; an existing one is replaced")
    command.add_argument("--dtype", choices=("int8", "float16", "float32"), default="float16",
                         help="of the weights; int8: a half of float16 and nearly the same (default: float16)")
    command.add_argument("--licence", required=True, help="under which terms others may use the weights")
    command.add_argument("--credit", action="append", default=[],
                         help="sentence that users of the weights have to repeat; once for each data set")
    command.add_argument("--about", default="", help="what the model knows, in a sentence or two")
    command.add_argument("--push", metavar="OWNER/NAME", help="also put the folder onto the Hugging Face hub")
    command.add_argument("--private", action="store_true", help="a repository made by --push is not public")
    command.add_argument("--results", metavar="FILE", nargs="+", default=[],
                         help="results.json files of this model: what they measured goes into quality.json")
    command.add_argument("--text-encoder", metavar="SOURCE",
                         help="text encoder that is named in place of the one it was trained with, of features as wide "
                         "and nearly the same: packed_minilm for minilm")
    command.add_argument("--choice", metavar="TEXT", action="append", default=[],
                         help="how something was chosen, and on which data; kept in provenance.json; may be repeated")
    options = command.parse_args(arguments)
    out = release(options.model, options.out, options.dtype, options.licence, " ".join(options.credit), options.about,
                  options.results, options.choice, options.text_encoder)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB; what it is: {out / 'README.md'}")
    if options.push:
        from mld.hub import push_folder

        print(f"pushed: {push_folder(out, options.push, options.private)}")
    return EXIT_OK


def release(
    model: str, out: str, dtype: str, licence: str, credit: str = "", about: str = "", results: Sequence[str] = (),
    choices: Sequence[str] = (), text_encoder: str | None = None,
) -> Path:  # fmt: skip
    """Write the folder; the provenance of `model` is kept and its own folder becomes a parent by weights hash.

    results: `results.json` files of the model, or their folders; `DataError` for those of another one. choices: how
    settings were chosen. text_encoder: source of another one, for a model that reads features of one."""
    from mld.checkpoint import load_model, read_provenance, resolve_folder, weights_hash
    from mld.evaluation.quality import FILE, collect
    from mld.evaluation.results_file import read_results
    from mld.files import write_json
    from mld.hub import write_release

    source = resolve_folder(model)
    network = load_model(source)
    known = read_provenance(source)
    due = [line for name, line in CREDITS.items() if name in str(known.get("data", "")) and line not in credit]
    terms = {"licence": licence, "credit": " ".join(part for part in (credit, *due) if part), "about": about}
    before = weights_hash(source)
    files = [Path(name) / "results.json" if Path(name).is_dir() else Path(name) for name in results]
    quality = collect([(str(file), read_results(file)) for file in files], (before,))
    origin = {**known, "weights_hash_before_release": before, **terms}
    if text_encoder is not None:
        origin["text_encoder"] = _take_text_encoder(network, text_encoder)
    folder = write_release(network, out, dtype, {**origin, **({"choices": list(choices)} if choices else {})})
    if files:
        write_json(folder / FILE, quality)
    return folder


def _take_text_encoder(network: Network, source: str) -> dict[str, Any]:
    """Give a model another text encoder of the same family; what provenance says of both. `RequestError` for a model
    without one, `CheckpointError` where widths differ."""
    from mld.errors import CheckpointError, RequestError
    from mld.models.text_encoders.opening import open_text_encoder

    own = getattr(network, "parts", {}).get("text")
    if own is None:
        raise RequestError(f"--text-encoder {source}: this {network.kind} has no text encoder as a part to replace")
    new = open_text_encoder(source, own.family)
    for name in ("width", "sentence_width"):
        if getattr(new, name) != getattr(own, name):
            raise CheckpointError(f"--text-encoder {source}: its {name} is {getattr(new, name)}, the model reads "
                                  f"features of '{own.source}', {getattr(own, name)}")  # fmt: skip
    network.text = new
    named = ("family", "source", "identity")
    now, before = ({name: one.describe()[name] for name in named} for one in (new, own))
    return {**now, "trained_with": before}


if __name__ == "__main__":
    sys.exit(run(main))
