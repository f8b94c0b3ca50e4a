"""python -m prepare.pack SOURCE OUT: a small copy of a BERT that reads sentences: numbers of few bits, of more for
common pieces of words. `open_text_encoder(OUT)` reads it as any other; its features differ a little
(docs/text_encoders.md)."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from commands.common import EXIT_OK, parser, run

EPILOG = """\
examples:
  python -m prepare.pack minilm out/minilm --licence Apache-2.0 --credit "all-MiniLM-L6-v2, sentence-transformers"
  python -m prepare.pack FOLDER OUT --words captions.txt --bits 8 --rest-bits 8     # a quarter, nearly the same

Pieces that occur in the captions of the made-up motion, in the prompts of the probes, in demos/ and in --words FILE
have 8 bits, and so have the most frequent others, up to --fine in all; the rest has --rest-bits.
"""
COMMON = 8  # bits of common pieces
GROUP, REST_GROUP = 64, 32  # columns that share a scale, in layers and in rare pieces
MADE_UP = 3000  # clips of each made-up set whose captions are read


def main(arguments: Sequence[str]) -> int:
    command = parser("prepare.pack", __doc__ or "", EPILOG)
    command.add_argument("source", metavar="SOURCE", help="folder or hub id of a plain BERT, or minilm")
    command.add_argument("out", metavar="OUT", help="folder to write; an existing one is replaced")
    command.add_argument("--bits", type=int, choices=range(2, 9), default=6, help="of layers (default: 6)")
    command.add_argument("--rest-bits", type=int, choices=range(2, 9), default=4, help="of rare pieces (default: 4)")
    command.add_argument("--fine", type=int, default=3200, metavar="N", help="pieces with 8 bits (default: 3200)")
    command.add_argument("--pieces", type=int, metavar="N", help="keep so many (default: all that a text leads to)")
    command.add_argument("--words", nargs="+", default=[], metavar="FILE", help="texts whose pieces have 8 bits, too")
    command.add_argument("--licence", default="", help="under which terms the weights may be used")
    command.add_argument("--licence-file", metavar="FILE", help="text of the licence; it is laid beside the weights")
    command.add_argument("--credit", default="", help="who made the source, and where it is from")
    options = command.parse_args(arguments)
    out = pack(options.source, options.out, bits=options.bits, rest_bits=options.rest_bits, fine=options.fine,
               most=options.pieces, words=options.words, licence=options.licence, licence_file=options.licence_file,
               credit=options.credit)  # fmt: skip
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.1f} MB; what it is: {out / 'README.md'}")
    return EXIT_OK


def pack(
    source: str, out: str, bits: int = 6, rest_bits: int = 4, fine: int = 3200, most: int | None = None,
    words: Sequence[str] = (), licence: str = "", licence_file: str | None = None, credit: str = "",
) -> Path:  # fmt: skip
    """Write the folder. `CheckpointError` for a source that is no plain BERT, `RequestError` for an OUT that holds
    something else."""
    import torch

    from mld.checkpoint import git_sha, read_provenance
    from mld.errors import CheckpointError, RequestError
    from mld.files import file_hash, parse_json, replacing, write_json, write_tensors
    from mld.models.packed_weights import METHOD
    from mld.models.text_encoders.bert import BertEncoder
    from mld.models.text_encoders.bert_network import CONFIG, PACKING, WEIGHTS, BertNetwork
    from mld.reading import read_text
    from mld.version import __version__
    from prepare._pieces import PIPELINE, choose, renumbered

    encoder, place = BertEncoder(source), Path(out)
    folder = encoder.locate()
    if place.is_dir() and any(place.iterdir()) and "pieces_of_8_bits" not in read_provenance(place):
        raise RequestError(f"{place}: holds other files and is no packed text encoder; name a new folder")
    network, tokenizer = encoder.model, encoder.tokenizer
    if not isinstance(network, BertNetwork) or not (folder / PIPELINE).is_file():
        raise CheckpointError(f"{folder}: no plain BERT with a tokenizer.json; others cannot be packed")
    texts = [*_own_texts(), *(read_text(name, errors="replace") for name in words)]
    seen = {number for row in tokenizer(texts, add_special_tokens=False)["input_ids"] for number in row}
    pieces = choose(tokenizer.get_vocab(), tokenizer.all_special_ids, seen, fine, most)
    pipeline = renumbered(parse_json(read_text(folder / PIPELINE)), pieces.kept, str(folder / PIPELINE))
    stored = _packed(network, torch.tensor(pieces.kept), pieces.fine, bits, rest_bits)
    config = {**network.settings, "vocab_size": len(pieces.kept), PACKING: METHOD}
    if config.get("pad_token_id") is not None:
        config["pad_token_id"] = pieces.kept.index(config["pad_token_id"])
    origin: dict[str, Any] = {
        "mld_version": __version__, "git_sha": git_sha(), "source": folder.name if Path(source).is_dir() else source,
        "source_identity": encoder.identity, "source_sha256": file_hash(folder / WEIGHTS),
        "tokenizer_sha256": file_hash(folder / PIPELINE), "source_pieces": len(tokenizer), "pieces": len(pieces.kept),
        "pieces_of_8_bits": pieces.fine, "pieces_in_texts": len(seen), "bits_of_layers": bits,
        "bits_of_other_pieces": rest_bits, "made_up_clips": MADE_UP, "words": {Path(name).name: file_hash(name)
                                                                              for name in words},
        "licence": licence, "credit": credit,
    }  # fmt: skip
    with replacing(place) as new:
        write_json(new / CONFIG, config)
        (new / PIPELINE).write_text(json.dumps(pipeline, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, new / name)
        write_tensors(new / WEIGHTS, stored, {"format": "pt"})
        if licence_file is not None:
            shutil.copyfile(licence_file, new / "LICENSE")
        origin["identity"] = BertEncoder(new).open().identity
        write_json(new / "provenance.json", origin)
        (new / "README.md").write_text(_card(origin, licence_file is not None), encoding="utf-8")
    return place


def _own_texts() -> list[str]:
    """What people are told that they can ask for."""
    from mld import packaged
    from mld.data.sources.procedural.source import clip_script
    from mld.evaluation.suites.probes.prompts import read_suite
    from mld.reading import read_text

    scripts = [clip_script(0, "train", index, wide) for wide in (False, True) for index in range(MADE_UP)]
    made_up = [caption for script in scripts for caption in script.captions]
    probes = [probe.prompt for probe in read_suite().probes]
    return [*made_up, *probes, *(read_text(file) for file in sorted(packaged.demos().glob("*.txt")))]


def _packed(network: Any, kept: Any, fine: int, bits: int, rest_bits: int) -> dict[str, Any]:
    """Matrices in few bits, vectors in half precision; the rows of pieces that are kept, in their order."""
    from mld.models.packed_weights import pack_matrix

    words, stored = "embeddings.word_embeddings.weight", {}
    for name, value in network.state_dict().items():
        value = value[kept] if name == words else value
        if value.ndim < 2 or value.shape[1] % 8:
            stored[name] = value.half()
        elif name != words:
            stored |= pack_matrix(name, value, COMMON if name.startswith("embeddings.") else bits, GROUP)
        elif rest_bits == COMMON or fine == len(kept):
            stored |= pack_matrix(name, value, COMMON, GROUP)
        else:
            stored |= pack_matrix(name, value[:fine], COMMON, value.shape[1])
            stored |= pack_matrix(name, value[fine:], rest_bits, REST_GROUP)
    return stored


def _card(origin: dict[str, Any], has_licence: bool) -> str:
    fine = origin["pieces_of_8_bits"]
    about = (
        f"A text encoder in few bits, made by `python -m prepare.pack` from {origin['source']} (SHA-256 of its "
        f"weights: `{origin['source_sha256']}`). Layers have {origin['bits_of_layers']} bits, {fine:,} common pieces "
        f"of words 8, the other {origin['pieces'] - fine:,} {origin['bits_of_other_pieces']}; pieces have new numbers. "
        "Only `mld` reads it: `open_text_encoder(folder)`. `provenance.json` has the details."
    )
    licence = f"Licence: {origin['licence']}{' (LICENSE)' if has_licence else ''}." if origin["licence"] else ""
    return "\n\n".join(part for part in ("# A packed text encoder", about, licence, origin["credit"]) if part) + "\n"


if __name__ == "__main__":
    sys.exit(run(main))
