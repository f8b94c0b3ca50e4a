"""What raters are asked: three axes, each from 1 to 5. The published raters' scale is not known (spec motionmillion 5.4
and 12), so numbers here do not compare with theirs."""

from __future__ import annotations

AXES = {
    "text_alignment": ("Text alignment", "Does the motion do what the text says, all of it and nothing else?"),
    "physical_plausibility": ("Physical plausibility", "Could a body move so: balance, weight, feet, no limb through "
                              "another?"),
    "motion_smoothness": ("Motion smoothness", "Is it free of jumps, trembling, freezing and sliding?"),
}  # fmt: skip
SCALE = {1: "not at all", 2: "poorly", 3: "partly", 4: "mostly", 5: "fully"}
FORMAT = "mld-rating/1"
