"""python -m prepare.release MODEL OUT: a model folder to hand on: half precision, licence, credit and model card; with
`--push OWNER/NAME` also to the Hugging Face hub, from where `mld.load("OWNER/NAME")` opens it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, parser, run

EPILOG = """\
example:
  python -m prepare.release runs/quickstart/instruct/model out/my-model --licence MIT --about "walks and waves"
  python -m prepare.release motiongpt3 out/mine --licence MIT --push me/mine --private
"""


def main(arguments: Sequence[str]) -> int:
    command = parser("prepare.release", "Copy a model folder for others to use.", EPILOG)
    command.add_argument("model", metavar="MODEL", help="model folder to start from")
    command.add_argument("out", metavar="OUT", help="folder to write; an existing one is replaced")
    command.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="default: float16")
    command.add_argument("--licence", required=True, help="under which terms others may use the weights")
    command.add_argument("--credit", default="", help="sentence that users of the weights have to repeat")
    command.add_argument("--about", default="", help="what the model knows, in a sentence or two")
    command.add_argument("--push", metavar="OWNER/NAME", help="also put the folder onto the Hugging Face hub")
    command.add_argument("--private", action="store_true", help="a repository made by --push is not public")
    options = command.parse_args(arguments)
    out = release(options.model, options.out, options.dtype, options.licence, options.credit, options.about)
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out}: {size / 1e6:.1f} MB; what it is: {out / 'README.md'}")
    if options.push:
        from mld.hub import push_folder

        print(f"pushed: {push_folder(out, options.push, options.private)}")
    return EXIT_OK


def release(model: str, out: str, dtype: str, licence: str, credit: str = "", about: str = "") -> Path:
    """Write the folder; the provenance of `model` is kept and its own folder becomes a parent by weights hash."""
    from mld.checkpoint import load_model, read_provenance, resolve_folder, weights_hash
    from mld.hub import write_release

    source = resolve_folder(model)
    network = load_model(source)
    terms = {"licence": licence, "credit": credit, "about": about}
    origin = {**read_provenance(source), "weights_hash_before_release": weights_hash(source), **terms}
    return write_release(network, out, dtype, origin)


if __name__ == "__main__":
    sys.exit(run(main))
