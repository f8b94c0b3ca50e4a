// The mannequin as a table, sizes in metres for a leg of 0.83 m. A bone is found by the joint it ends in, without its side.

export const LEG = 0.83;

// radii at the parent's and at the child's end, none for a bone that only carries extras; wide, deep: factors across and along the body; belly: where the bone is
// thicker than its ends, [share of the length, factor]. turn: what its cross-section keeps to.
export const BONES = {
  hip: { radii: [0.085, 0.074], tint: "torso" },
  pelvis: { radii: [0.085, 0.085], wide: 1.2, tint: "torso", turn: "hips" },
  spine: { radii: [0.085, 0.085], wide: 1.2, tint: "torso", turn: "shoulders" },
  spine1: { radii: [0.09, 0.088], wide: 1.25, tint: "torso", turn: "hips" },
  spine2: { radii: [0.088, 0.09], wide: 1.2, tint: "torso", turn: "hips" },
  spine3: { radii: [0.09, 0.09], wide: 1.2, tint: "torso", turn: "shoulders" },
  neck: { radii: [0.085, 0.05], wide: 1.15, tint: "torso", turn: "shoulders" },
  collar: { radii: [0.06, 0.058], tint: "torso" },
  shoulder: { radii: [0.056, 0.05], tint: "torso" },
  head: { radii: [0.047, 0.044], tint: "torso", turn: "shoulders" },
  elbow: { radii: [0.063, 0.042], tint: "arm", belly: [0.3, 1.05] },
  wrist: { radii: [0.043, 0.028], tint: "arm", belly: [0.25, 1.1] },
  knee: { radii: [0.089, 0.057], tint: "leg", belly: [0.25, 1.04] },
  ankle: { radii: [0.057, 0.036], tint: "leg", belly: [0.28, 1.14] },
  midfoot: { radii: [0.042, 0.036], wide: 1.15, tint: "leg", turn: "shin" },
  foot: { radii: [0.041, 0.032], wide: 1.2, deep: 0.9, tint: "leg", turn: "shin" },
  heel: { turn: "shin" },
};

export const OTHER = { radii: [0.05, 0.045], tint: "torso" };

// Ellipsoids that sit on a bone: between its parent's (0) and its child's end (1), moved by `offset` (across, along, to the front).
export const EXTRAS = [
  { bone: "spine1", end: 0, offset: [0, -0.03, -0.008], radii: [0.158, 0.118, 0.115], tint: "torso" }, // pelvis
  { bone: "spine2", end: 1, offset: [0, -0.06, 0.004], radii: [0.128, 0.17, 0.1], tint: "torso" }, // abdomen
  { bone: "neck", end: 1, offset: [0, -0.15, 0.006], radii: [0.16, 0.19, 0.118], tint: "torso" }, // chest
  { bone: "pelvis", end: 0, offset: [0, 0, 0], radii: [0.15, 0.11, 0.11], tint: "torso" },
  { bone: "head", end: 1, offset: [0, 0.058, 0.012], radii: [0.077, 0.108, 0.095], tint: "torso" },
  { bone: "head", end: 1, offset: [0, 0.074, 0.054], radii: [0.066, 0.034, 0.058], tint: "visor" },
  { bone: "wrist", end: 1, offset: [0, 0.06, 0], radii: [0.036, 0.078, 0.036], tint: "arm" },
  { bone: "heel", end: 0, offset: [0, -0.016, -0.044], radii: [0.037, 0.04, 0.047], tint: "leg" },
  { bone: "heel", end: 0.4, offset: [0, 0, -0.03], radii: [0.036, 0.085, 0.034], tint: "leg" }, // sole
  { bone: "foot", end: 1, offset: [0, 0.03, 0], radii: [0.04, 0.055, 0.026], tint: "leg" },
];

/** "l_knee" -> ["l", "knee"] */
export function sideAndName(joint) {
  const found = /^([lr])_(.*)$/.exec(joint);
  return found ? [found[1], found[2]] : ["", joint];
}

/** The colour name of a part: "torso", "visor", "leftLeg" ... */
export function tintOf(joint, tint) {
  const side = sideAndName(joint)[0];
  if (tint !== "leg" && tint !== "arm") return tint;
  return (side === "l" ? "left" : "right") + (tint === "leg" ? "Leg" : "Arm");
}
