"""`python -m prepare.tokens`: the tokens of all training clips, made beforehand on many processes or a cluster.

What a training run would make when it begins (docs/training.md): a run with the same tokenizer and clips finds it and
reads no clip for it. The command goes on where it was interrupted; the store is the same whatever the number of
processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, parser, run

EPILOG = """\
examples:
  python -m prepare.tokens --cfg configs/motionmillion/t2m_111M.yaml data.source=shards data.root=FOLDER
  python -m prepare.tokens --cfg configs/motionmillion/t2m_7B.yaml --tokenizer FOLDER data.root=FOLDER --engine ray
  python -m prepare.tokens --tokenizer FOLDER data.source=shards data.root=FOLDER --out tokens --workers 8"""


def main(arguments: Sequence[str]) -> int:
    from prepare._runs import add_options, stated

    made = parser("python -m prepare.tokens", __doc__, EPILOG)
    made.add_argument("--tokenizer", "--model", metavar="FOLDER",
                      help="model folder of a tokenizer or generator (default: init_from of the config)")
    made.add_argument("--out", metavar="FOLDER", help="where stores are put (default: cache below output of the run)")
    add_options(made)
    args = made.parse_intermixed_args(arguments)

    from mld.data.sources.opening import build_source
    from mld.errors import DataError, RequestError
    from mld.jobs import check_workers
    from mld.training.networks import check_fits
    from mld.training.token_encoding import Elsewhere, tokenizer_in
    from mld.training.token_store import token_store
    from mld.training.token_writing import Processes
    from prepare._runs import model_place, placed, run_of

    workers = check_workers(args.engine, args.workers)
    if not (args.tokenizer or args.cfg):
        raise RequestError("say which tokenizer: --tokenizer FOLDER, or --cfg of a run that begins with one")
    tokenizer = tokenizer_in(args.tokenizer) if args.tokenizer else None
    config = run_of(args, _defaults(tokenizer) if tokenizer is not None else None)
    folder = args.tokenizer or config.init_from
    if folder is None:
        raise RequestError(f"{args.cfg}: its tokenizer is made when training begins; name one with --tokenizer FOLDER")
    tokenizer = (tokenizer_in(folder) if tokenizer is None else tokenizer).to(args.device).eval()
    check_fits(config, tokenizer)
    began = time.monotonic()
    data, usual = placed(config.data), Path(config.output) / "cache"
    source, out = build_source(data, "train"), Path(args.out or usual)
    stated([source.report()])
    alone = workers == 1 and args.engine == "processes"
    work = None if alone else Elsewhere(model_place(folder), data, args.device)
    store = token_store(tokenizer, source, data, out, Processes(work, args.engine, workers, one_thread=True))
    if store is None:
        raise DataError(f"data.tasks: {', '.join(config.data.tasks) or 'none'}: no motion is in them, so no tokens are")
    use = f"train with training.tokens={out}" if args.out else f"a run with output={config.output} finds it"
    stated([f"{store.report()}; {time.monotonic() - began:,.1f} s", f"{use}, this tokenizer and these data settings"])
    return EXIT_OK


def _defaults(tokenizer) -> dict:
    """Data settings that follow from a tokenizer."""
    unit = tokenizer.layout.frames_per_token
    return {"data": {"representation": tokenizer.representation, **({"unit_length": unit} if unit else {})}}


if __name__ == "__main__":
    sys.exit(run(main))
