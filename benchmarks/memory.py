"""Memory of MotionMillion in answers: byte counts of every size, and the peak of a slice that is loaded and asked.

    python -m benchmarks.memory [--sizes 111M 1B 3B 7B] [--limit 16] [--json FILE]
    python -m benchmarks.memory --slice DIR [--size 7B] [--layers 2] [--text-layers 2] [--codes 20]
                                [--weights float32 bfloat16 int8] [--json FILE]

The first prints a table; networks are on the meta device, so it takes no memory. Bytes are those of all weights with
their scales, the tokenizer in float32, keys and values of all 301 positions, and the text encoder (Flan-T5-XL's).
`total` is what is there while codes are made: weights, tokenizer, keys and values of one answer; the text encoder is
unloaded before the weights are read (`demo`), or stays on the host of a GPU (--text-encoder cpu).

The second writes a model folder with layers of true size, fewer of them, and random weights (7B with 2 of 36 layers:
3.7 GB in float32; delete it afterwards), and answers a text from it through `Pipeline`, once for each of --weights
in a process of its own. Peaks are of anonymous memory (RssAnon, looked at every few milliseconds) above what it
had before, and of all resident pages (VmHWM; pages of mapped files count there, and can be dropped). Logits are
compared behind the codes that float32 chose.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks import million
from mld.models.families.motionmillion.config import SIZES
from mld.models.memory import GIB
from mld.models.quantization import WEIGHTS, weight_bytes

BATCHES = (1, 16)
T5_XL = {"d_model": million.WIDTH, "d_kv": 64, "num_heads": 32, "d_ff": 5120, "vocab_size": 32128,
         "feed_forward_proj": "gated-gelu"}  # fmt: skip
T5_XL_LAYERS = 24
WORDS = "a person walks forward and then turns around slowly"


def counts(size: str) -> list[dict[str, Any]]:
    """Bytes of a size, for each kind of weights."""
    model = million.untrained(size, meta=True)
    tokenizer = sum(value.nbytes for value in (*model.tokenizer.parameters(), *model.tokenizer.buffers()))
    found = []
    for weights in WEIGHTS:
        kind = torch.bfloat16 if weights == "bfloat16" else torch.float32  # in which its layers multiply
        with torch.device("meta"):
            kept = [model.transformer.new_cache(batch).room.numel() * kind.itemsize for batch in BATCHES]
        whole = weight_bytes(model, weights)
        found.append({"size": size, "parameters": sum(p.numel() for p in model.parameters()), "weights": weights,
                      "bytes": whole - tokenizer, "tokenizer": tokenizer, "cache_1": kept[0], "cache_16": kept[1],
                      "total_1": whole + kept[0], "total_16": whole + kept[1]})  # fmt: skip
    return found


def text_encoder_bytes(dtype: torch.dtype) -> int:
    """Of the encoder of Flan-T5-XL."""
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        model = T5EncoderModel(T5Config(**T5_XL, num_layers=T5_XL_LAYERS))
    return sum(value.numel() for value in model.parameters()) * dtype.itemsize


def table(rows: Sequence[dict[str, Any]], limit: float) -> str:
    """Markdown, in GiB."""
    head = ("size", "weights", "network", "tokenizer", "keys, 1 answer", "keys, 16", "total, 1", "total, 16",
            f"in {limit:g} GiB")  # fmt: skip
    lines = [" | ".join(head), " | ".join(["---"] * len(head))]
    for row in rows:
        numbers = [row[key] / GIB for key in ("bytes", "tokenizer", "cache_1", "cache_16", "total_1", "total_16")]
        fits = [f"{batch}" for batch, total in zip(BATCHES, numbers[-2:]) if total <= limit]
        told = f"{' and '.join(fits)} at once" if fits else "no"
        lines.append(" | ".join([row["size"], row["weights"], *(f"{number:.2f}" for number in numbers), told]))
    return "\n".join(f"| {line} |" for line in lines)


# the slice


def write_slice(folder: Path, size: str, layers: int, text_layers: int) -> Path:
    """A model folder with layers of a published size, and beside it a text encoder with layers of Flan-T5-XL."""
    from mld.checkpoint import save_model
    from mld.models.text_encoders.opening import open_text_encoder

    place = folder / "model"
    if (place / "config.yaml").is_file():
        return place
    text = write_text_encoder(folder / "text", text_layers)
    model = million.untrained(size, layers=layers)
    model.text = open_text_encoder(str(text), "t5")
    _ = model.text.identity  # opened once, so that the folder knows it
    save_model(model, place, largest_file=1_000_000_000)
    return place


def write_text_encoder(folder: Path, layers: int) -> Path:
    """An untrained Flan-T5-XL of fewer layers that knows a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    known = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", *dict.fromkeys(WORDS.split())])}
    pieces = Tokenizer(models.WordLevel(known, "<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.Whitespace()
    pieces.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
                            model_max_length=512).save_pretrained(str(folder))  # fmt: skip
    torch.manual_seed(0)
    T5EncoderModel(T5Config(**T5_XL, num_layers=layers)).save_pretrained(str(folder))
    return folder


def ask(folder: Path, weights: str, codes: int, place: str, beside: Path) -> dict[str, Any]:
    """Load the folder and answer a text, with the peaks on the way. beside: logits and codes of float32, written by it
    and read by the others."""
    from mld.checkpoint import outline
    from mld.engine.pipeline import Pipeline
    from mld.engine.request import Request
    from mld.example import Text

    torch.set_num_threads(1)
    expected = weight_bytes(outline(folder), weights)
    prompt = (Text(WORDS),)
    before = anonymous()
    with peak() as loading:
        pipeline = Pipeline.load(folder, weights=weights, text_encoder=place, prompts=[prompt])
    held, model = anonymous() - before, pipeline.model
    start = time.process_time()
    with peak() as answering:
        (answer,) = pipeline.run([Request(prompt, "motion", 2 * codes)])
    seconds = time.process_time() - start
    exact = torch.load(beside) if beside.is_file() else None
    chosen = answer.tokens if exact is None else exact["codes"]
    logits = _logits(model, chosen)
    if exact is None:
        torch.save({"codes": chosen, "logits": logits}, beside)
        exact = {"codes": chosen, "logits": logits}
    return {
        "weights": weights, "rounding": str(pipeline.rounding), "weights_gib": _gib(expected),
        "loading_peak_gib": _gib(loading[0] - before), "held_gib": _gib(held),
        "answering_peak_gib": _gib(answering[0] - before), "text_encoder": place,
        "resident_peak_gib": _gib(_told("VmHWM")),
        "frames": len(answer.features), "finite": bool(answer.features.isfinite().all()),
        "answer_s": round(seconds, 2),
        "same_codes": f"{int((answer.tokens == exact['codes']).sum())} of {len(chosen)}",
        "likeliest_code_same": f"{int((logits.argmax(-1) == exact['logits'].argmax(-1)).sum())} of {len(chosen)}",
        "logit_error": float(f"{(logits - exact['logits']).norm() / exact['logits'].norm():.1e}"),
    }  # fmt: skip


def _logits(model: Any, codes: torch.Tensor) -> torch.Tensor:
    from mld.example import Text

    return million.logits_of(model, codes, model.prompt((Text(WORDS),), "motion"))


def anonymous() -> int:
    """Bytes of this process that belong to no file."""
    return _told("RssAnon")


def _told(name: str) -> int:
    """A number of /proc/self/status. ru_maxrss would begin with that of the process which started this one."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise SystemExit("benchmarks.memory --slice needs Linux, which tells memory in /proc/self/status")


@contextmanager
def peak() -> Iterator[list[int]]:
    """The largest `anonymous` while it lasts, in a list of one."""
    most, done = [anonymous()], threading.Event()

    def look() -> None:
        while not done.wait(0.003):
            most[0] = max(most[0], anonymous())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()
        most[0] = max(most[0], anonymous())


def _gib(size: float) -> float:
    return round(size / GIB, 3)


def _slice(options: argparse.Namespace) -> list[dict[str, Any]]:
    folder = Path(options.slice)
    model, beside = write_slice(folder, options.size, options.layers, options.text_layers), folder / "float32.pt"
    beside.unlink(missing_ok=True)
    found = []
    for weights in dict.fromkeys(("float32", *options.weights)):
        command = [sys.executable, "-m", "benchmarks.memory", "--ask", str(model), "--weights", weights,
                   "--codes", str(options.codes), "--text-encoder", options.text_encoder]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(json.dumps(found[-1], indent=2), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["111M", "1B", "3B", "7B"])
    parser.add_argument("--limit", type=float, default=16.0, help="GiB that a device has (default: 16)")
    parser.add_argument("--slice", metavar="DIR", help="where the slice is written, and left")
    parser.add_argument("--size", choices=list(SIZES), default="7B", help="of the slice")
    parser.add_argument("--layers", type=int, default=2, help="of the slice")
    parser.add_argument("--text-layers", type=int, default=2, help="of its text encoder")
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=list(WEIGHTS))
    parser.add_argument("--text-encoder", choices=("keep", "unload"), default="unload")
    parser.add_argument("--codes", type=int, default=20)
    parser.add_argument("--json", metavar="FILE", help="write the numbers there, too")
    parser.add_argument("--ask", metavar="DIR", help=argparse.SUPPRESS)  # what --slice starts
    options = parser.parse_args()
    if options.ask:
        folder = Path(options.ask)
        print(json.dumps(ask(folder, options.weights[0], options.codes, options.text_encoder,
                             folder.parent / "float32.pt")))  # fmt: skip
        return
    if options.slice:
        found: Any = _slice(options)
    else:
        found = {"rows": [row for size in options.sizes for row in counts(size)],
                 "text_encoder": {name: text_encoder_bytes(getattr(torch, name)) for name in ("float32", "bfloat16")}}
        print(table(found["rows"], options.limit))
        told = ", ".join(f"{size / GIB:.2f} GiB in {name}" for name, size in found["text_encoder"].items())
        print(f"\nGiB of 2^30 bytes. Text encoder (Flan-T5-XL): {told}; not part of the totals.")
    if options.json:
        Path(options.json).write_text(json.dumps({"benchmark": "memory", "torch": torch.__version__, "found": found},
                                                 indent=2) + "\n", encoding="utf-8")  # fmt: skip


if __name__ == "__main__":
    main()
