"""What the user's folder of body models has for MBench: SMPL itself, SMPLify's prior and its mean pose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mld.errors import DataError, MldError
from mld.files import file_hash
from mld.motion.rig.smpl_body import MODELS_VARIABLE, model_file
from mld.motion.rig.smpl_fit import PosePrior
from mld.motion.rig.smpl_model import BodyModel
from mld.motion.rig.smplify import REST, Start, check_body

MODEL = "smpl/SMPL_NEUTRAL.npz"
PRIORS, STARTS = ("gmm_08.npz", "gmm_08.pkl"), ("neutral_smpl_mean_params.npz",)
_MEAN_POSE = "'pose' (72) and 'shape' (10) of SMPLify's neutral_smpl_mean_params.h5, saved by numpy.savez"


@dataclass(frozen=True, eq=False)
class SmplFiles:
    """body: SMPL, neutral. prior, start: None and the pose at rest where the folder has none. hashes: of the files."""

    body: BodyModel
    prior: PosePrior | None
    start: Start
    hashes: dict[str, str]

    @classmethod
    def open(cls, folder: Path | None) -> SmplFiles:
        """Out of a folder, by default that of the environment; `MldError` where there is no model or a file is bad."""
        path = model_file("smpl", "neutral", folder)
        if path is None:
            named = f"{folder} has no {MODEL}" if folder else ""
            where = named or f"no body model; name its folder by --body-models or {MODELS_VARIABLE}"
            raise DataError(f"{where}; a .pkl of SMPL becomes an .npz by the tools of the smplx package")
        places = (path.parent, path.parent.parent, *([Path(folder)] if folder else ()))
        prior, start = (_first(places, names) for names in (PRIORS, STARTS))
        files = {"smpl": path, "prior": prior, "start": start}
        return cls(
            check_body(BodyModel.load(path), str(path)), None if prior is None else PosePrior.load(prior),
            REST if start is None else Start.load(start),
            {name: "none" if file is None else file_hash(file)[:16] for name, file in files.items()},
        )  # fmt: skip

    def missing(self) -> str:
        """What published numbers also need, and the folder has not; "" where all is there."""
        if self.prior is None:
            return f"published numbers need SMPLify's prior; put {PRIORS[1]} beside the body model"
        if self.start is REST:
            return f"published numbers need {STARTS[0]} beside the body model: {_MEAN_POSE}"
        return ""


def open_or_reason(folder: Path | None) -> tuple[SmplFiles | None, str]:
    """The files, or why there are none."""
    try:
        return SmplFiles.open(folder), ""
    except MldError as error:
        return None, str(error)
    except OSError as error:
        return None, f"{error.filename}: {error.strerror}"


def _first(folders: tuple[Path, ...], names: tuple[str, ...]) -> Path | None:
    return next((path for folder in folders for name in names if (path := folder / name).is_file()), None)
