"""Judges: a model that looks at pictures of a motion and answers a question about it. None is opened unless asked for.

`open_judge(spec)` opens one, `Recorded` keeps its answers so that they can be used again without it.
"""

from mld.evaluation.judge.contract import Judge, JudgeError
from mld.evaluation.judge.opening import open_judge
from mld.evaluation.judge.recorded import Recorded, Replay

__all__ = ["Judge", "JudgeError", "Recorded", "Replay", "open_judge"]
