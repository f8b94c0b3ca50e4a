"""`python -m prepare.text`: text features of all captions, made beforehand on many processes or a cluster.

Each text is encoded once, into the cache that training reads; a training run with the same encoder and cache then
encodes nothing. The command goes on where it was interrupted."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser, run

EPILOG = """\
examples:
  python -m prepare.text --cfg configs/motionmillion/t2m_111M.yaml data.source=shards data.root=FOLDER --device cuda
  python -m prepare.text --encoder minilm data.source=joints data.root=FOLDER --out text_features --workers 4

features that others made, and ours for others, in the layout of ViMoGen-228K (each with --help of its own):
  python -m prepare.text --published ViMoGen-228K_train.json --null context_null_padded.pth --out text_features
  python -m prepare.text --export LIST.json --encoder FOLDER --out DIR"""


def main(arguments: Sequence[str]) -> int:
    from prepare._runs import add_options, stated

    if any(word.split("=")[0] in ("--published", "--export") for word in arguments):
        from prepare._published_texts import main as published

        return published(arguments)
    made = parser("python -m prepare.text", __doc__, EPILOG)
    made.add_argument("--encoder", metavar="FOLDER_OR_ID", help="text encoder: a folder, a hub id or minilm (default: "
                      "that of the config)")
    made.add_argument("--out", metavar="FOLDER", help="cache of features (default: text_cache of the config)")
    made.add_argument("--tokens", choices=("float16", "float32", "none"),
                      help="how features of tokens are kept; none: sentences alone (default: as the config says, or "
                      "float16)")
    made.add_argument("--splits", nargs="+", default=["train"], choices=("train", "val", "test"), metavar="SPLIT",
                      help="whose captions (default: train)")
    add_options(made)
    args = made.parse_intermixed_args(arguments)

    from mld.data.sources.opening import build_source
    from mld.errors import RequestError
    from mld.training.text_making import EncoderSettings, make_texts
    from prepare._runs import model_place, placed, run_of, workers_of

    workers = workers_of(args)
    config = run_of(args)
    chosen = config.text_encoder
    if not args.encoder and chosen is None:
        raise RequestError("say which text encoder: --encoder FOLDER_OR_ID, or --cfg of a run that has one")
    out = args.out or config.text_cache
    if out is None:
        raise RequestError("say where features are kept: --out FOLDER, or text_cache=FOLDER of the config")
    settings = EncoderSettings(model_place(args.encoder or chosen.source))
    if chosen is not None and not args.encoder:
        settings = EncoderSettings(settings.source, chosen.family, chosen.dtype, chosen.width)
    tokens = args.tokens or (chosen.cached_tokens if chosen is not None else "float16")
    sources = [build_source(placed(config.data), split) for split in args.splits]
    stated([source.report() for source in sources])
    found = make_texts(settings, sources, Path(out), tokens, workers=workers, engine=args.engine, device=args.device)
    stated([*found.lines(), f"train with text_cache={out} text_encoder.cached_tokens={tokens}"])
    return EXIT_SOME_FAILED if found.left_out else EXIT_OK


if __name__ == "__main__":
    sys.exit(run(main))
