// Which colours of the figure are its left and which its right.

import { element } from "viewer/dom.js";

const SIDES = { left: ["leftArm", "leftLeg"], right: ["rightArm", "rightLeg"] };

/** Fill the legend with the colours of a scene (`theme.js`). */
export function fillLegend(box, scene) {
  box.replaceChildren(...Object.entries(SIDES).map(([side, limbs]) => element("span", {}, [...limbs.map((limb) => dot(scene[limb])), side])));
}

function dot(colour) {
  const round = element("i", { className: "dot" });
  round.style.background = colour;
  return round;
}
