"""Text features in the layout of ViMoGen-228K: read into a folder that training takes for an encoder, or written.

A folder that was read is named in a config: text_encoder: {source: FOLDER, family: stored}. No text encoder is needed
then but for texts that are not in it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from commands.common import EXIT_OK, EXIT_SOME_FAILED, parser


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 fine, 1 some texts have no features."""
    args = _parser().parse_args(arguments)
    return _import(args) if args.published else _export(args)


def _import(args: argparse.Namespace) -> int:
    from mld.errors import DataError, RequestError
    from mld.training.published_texts import check_keys, import_texts

    if args.null is None:
        raise RequestError("--null: the file with the features of the empty text, context_null_padded.pth, is needed")
    check_keys(Path(args.published), args.text_keys)
    features = None if args.features is None else Path(args.features)
    found = import_texts(Path(args.published), Path(args.out), Path(args.null), args.text_keys, features,
                         args.tokens or "float16", args.encoder or "")  # fmt: skip
    print("\n".join(found.lines("read")))
    if found.problems and args.complete:
        raise DataError(f"{len(found.problems):,} texts have no features (--complete); the first: {found.problems[0]}")
    print(f"train with text_encoder.source={args.out} text_encoder.family=stored")
    return EXIT_SOME_FAILED if found.problems else EXIT_OK


def _export(args: argparse.Namespace) -> int:
    from mld.errors import RequestError
    from mld.models.text_encoders.opening import open_text_encoder
    from mld.training.published_texts import check_keys, export_texts

    if not args.encoder:
        raise RequestError("say which text encoder: --encoder FOLDER_OR_ID, or a folder that --published wrote")
    keys = args.text_keys or ["motion_text_annot", "video_text_annot"]
    check_keys(Path(args.export), keys)
    encoder = open_text_encoder(args.encoder, dtype=args.dtype)
    if args.text_cache:
        encoder.keep_in(args.text_cache, args.tokens or "float16")
    found = export_texts(Path(args.export), Path(args.out), encoder, keys, args.device)
    print("\n".join(found.lines("written")))
    return EXIT_SOME_FAILED if found.problems else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    made = parser("python -m prepare.text", __doc__)
    which = made.add_mutually_exclusive_group(required=True)
    which.add_argument("--published", metavar="LIST", help="JSON list whose features are to be read")
    which.add_argument("--export", metavar="LIST", help="JSON list whose texts are to be encoded and written")
    made.add_argument("--out", required=True, metavar="FOLDER", help="where features are written")
    made.add_argument("--text-keys", nargs="+", default=[], metavar="KEY", help="texts of the list (default: those "
                      "that have features; to write: motion_text_annot video_text_annot)")  # fmt: skip
    made.add_argument("--null", metavar="FILE", help="features of the empty text: context_null_padded.pth")
    made.add_argument("--features", metavar="DIR", help="<text key>/<id>.pt, where the list does not name them")
    made.add_argument("--encoder", metavar="FOLDER_OR_ID", help="to write: the encoder; to read: that which made the "
                      "features, for other texts later on")  # fmt: skip
    made.add_argument("--tokens", choices=("float16", "float32"), help="how features are kept (default: float16)")
    made.add_argument("--complete", action="store_true", help="fail where a text has no features")
    made.add_argument("--text-cache", metavar="FOLDER", help="to write: cache of features (as of training)")
    made.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the encoder")
    made.add_argument("--device", default="cpu", help="where the encoder runs (default: cpu)")
    return made
