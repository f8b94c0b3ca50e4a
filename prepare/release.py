"""python -m prepare.release MODEL OUT: a model folder to hand on: half precision, licence, credit and model card; with
`--push OWNER/NAME` also to the Hugging Face hub, from where `mld.load("OWNER/NAME")` opens it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
    print(f"{out}: {size / 1e6:.1f} MB; try it: mld demo --model {out}")
    if options.push:
        print(f"pushed: {push_to_hub(out, options.push, options.private)}")
    return EXIT_OK


def push_to_hub(folder: str | Path, name: str, private: bool = False) -> str:
    """Put a model folder onto the hub, into a repository that is made where there is none; its address. The hub's own
    login is used (`hf auth login`). `CheckpointError` where the hub refuses."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    from mld.checkpoint import CONFIG
    from mld.errors import CheckpointError

    if not (Path(folder) / CONFIG).is_file():
        raise CheckpointError(f"{folder}: no model folder (it has no {CONFIG})")
    if name.count("/") != 1:
        raise CheckpointError(f"--push {name}: a name on the hub is OWNER/NAME")
    api = HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=name, folder_path=str(folder), commit_message="Model folder of mld"))
    except (HfHubHTTPError, HFValidationError, LocalTokenNotFoundError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{name}: the hub did not take the folder ({reason}); `hf auth login`?") from error


def release(model: str, out: str, dtype: str, licence: str, credit: str = "", about: str = "") -> Path:
    """Write the folder; the provenance of `model` is kept and its own folder becomes a parent by weights hash."""
    import json

    from mld.checkpoint import PROVENANCE, load_model, resolve_folder, save_model, weights_hash
    from mld.files import write_text

    source = resolve_folder(model)
    network = load_model(source)
    file = source / PROVENANCE
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    terms = {"licence": licence, "credit": credit, "about": about}
    origin = {**known, "weights_hash_before_release": weights_hash(source), **terms}
    folder = save_model(network, out, origin, dtype)
    write_text(folder / "README.md", _readme(network, origin))
    return folder


def _readme(network, origin: dict[str, Any]) -> str:
    tasks = ", ".join(sorted(getattr(network, "tasks", ()))) or "tokenizer only"
    rows = {
        "family": network.family,
        "tasks": tasks,
        "parameters": f"{origin.get('parameters', 0) / 1e6:.1f} M",
        "trained as": f"{origin.get('run', 'unknown')}, {origin.get('step', '?')} steps in the last stage",
        "data": origin.get("data", "unknown"),
        "licence": origin["licence"],
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    parts = ["# A motion-language model", origin["about"], f"| | |\n|---|---|\n{table}", origin["credit"]]
    use = "Open it with `mld.load(folder)` or `mld demo --model FOLDER`. `provenance.json` has the details."
    return _front_matter(network, origin["licence"]) + "\n\n".join(part for part in (*parts, use) if part) + "\n"


def _front_matter(network, licence: str) -> str:
    """What the hub reads of a model card. A licence that is no identifier goes as a name of its own."""
    import re

    import yaml

    simple = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*", licence)
    terms = {"license": licence.lower()} if simple else {"license": "other", "license_name": licence}
    tags = ["human-motion", "text-to-motion", network.family]
    card = {**terms, "library_name": "mld", "language": "en", "tags": tags}
    return f"---\n{yaml.safe_dump(card, sort_keys=False, allow_unicode=True)}---\n\n"


if __name__ == "__main__":
    sys.exit(run(main))
