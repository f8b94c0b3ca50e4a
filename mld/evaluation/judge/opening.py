"""The judge that a user names."""

from __future__ import annotations

from pathlib import Path

from mld.errors import RequestError, shown
from mld.evaluation.judge.contract import Judge
from mld.evaluation.judge.endpoint import Endpoint
from mld.evaluation.judge.recorded import Replay

FORMS = "https://HOST/v1#MODEL, a folder of a vision-language model, or replay:FOLDER"


def open_judge(spec: str, device: str = "cpu") -> Judge:
    """The judge of a spec:

    * `https://HOST/v1#MODEL`: an OpenAI-compatible endpoint (`Endpoint`); without `#MODEL` the only one it offers;
    * a folder of the transformers layout with a vision-language model (`LocalJudge`), run on `device`;
    * `replay:FOLDER`: recorded answers alone (`Replay`); `replay:FOLDER#IDENTITY` where several judges were recorded.

    `RequestError` for what is none of them; `CheckpointError` where a folder holds no such model."""
    if spec.startswith(("http://", "https://")):
        return Endpoint(spec)
    if spec.startswith("replay:"):
        folder, _, identity = spec.removeprefix("replay:").partition("#")
        return Replay(Path(folder), identity)
    if not spec.strip() or not Path(spec).is_dir():
        raise RequestError(f"judge {shown(spec)}: no folder of that name; a judge is {FORMS}")
    from mld.evaluation.judge.local import LocalJudge

    return LocalJudge(Path(spec), device)
