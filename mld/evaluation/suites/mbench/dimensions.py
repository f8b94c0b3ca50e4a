"""The nine dimensions and the four groups of prompts that they are measured on."""

from __future__ import annotations

from dataclasses import dataclass

JOINT, POSE, JUDGED = "joint", "pose", "judged"


@dataclass(frozen=True)
class Dimension:
    """needs: joints alone, an SMPL body, or a judge. better: 1 where higher is better, -1 where lower is."""

    name: str
    group: str
    needs: str
    better: int
    unit: str = ""
    says: str = ""

    @property
    def arrow(self) -> str:
        return "↑" if self.better > 0 else "↓"

    @property
    def title(self) -> str:
        return self.name.replace("_", " ")


QUALITY, POSES = "Motion_Quality", "Pose_Quality"
CONSISTENCY, GENERALIZABILITY = "Motion_Condition_Consistency", "Motion_Generalizability"
GROUPS = (QUALITY, POSES, CONSISTENCY, GENERALIZABILITY)
DIMENSIONS = {
    one.name: one
    for one in (
        Dimension("Jitter_Degree", QUALITY, JOINT, -1, "m/frame²", "acceleration of joints, in all and about the root"),
        Dimension("Ground_Penetration", QUALITY, JOINT, -1, "m", "mean depth of the feet where they are in the ground"),
        Dimension("Foot_Floating", QUALITY, JOINT, -1, "", "share of frames whose feet move as no foot does"),
        Dimension("Foot_Sliding", QUALITY, JOINT, -1, "m/frame", "horizontal speed of feet in contact"),
        Dimension("Dynamic_Degree", QUALITY, JOINT, 1, "m/frame", "speed of joints, in all and about the root"),
        Dimension("Body_Penetration", POSES, POSE, -1, "%", "triangles of the body's surface that cross each other"),
        Dimension("Pose_Quality", POSES, POSE, -1, "", "distance of poses from those of people (NRDF)"),
        Dimension(CONSISTENCY, CONSISTENCY, JUDGED, 1, "", "a judge picks the label among ten"),
        Dimension(GENERALIZABILITY, GENERALIZABILITY, JUDGED, 1, "", "a judge says whether motion and words fit"),
    )
}  # fmt: skip


def of_group(group: str) -> tuple[str, ...]:
    """Names of the dimensions that are measured on the prompts of a group."""
    return tuple(name for name, one in DIMENSIONS.items() if one.group == group)
