// The figure: one skinned mesh of capsules, each moved by the two joints of its bone. One draw call per figure.

import * as THREE from "three";
import { BONES, EXTRAS, LEG, OTHER, sideAndName, tintOf } from "viewer/body_parts.js";

const ROUND = 24; // segments around a limb
const CAP = 8; // rings of a rounded end
const STRAIGHT = 0.25; // how much the hips say which way a foot is turned, for feet that are stretched as far as the shin

export class Body {
  constructor(motion) {
    this.motion = motion;
    this.scale = legLength(motion) / LEG;
    this.bones = bonesOf(motion);
    const parts = this.bones.flatMap((bone, index) => partsOf(bone, index, this.scale));
    this.tints = parts.map(({ tint, geometry }) => [tint, geometry.attributes.position.count]);
    this.mesh = new THREE.SkinnedMesh(merged(parts), bodyMaterial());
    this.mesh.bind(new THREE.Skeleton(this.bones.map(() => new THREE.Bone()), this.bones.map(() => new THREE.Matrix4())));
    this.mesh.frustumCulled = false;
    this.mesh.castShadow = true;
    this.mesh.receiveShadow = true;
  }

  /** Colours by part: the limbs' own, or one colour for all (the head a little lighter). */
  paint(scene, colour = null) {
    const attribute = this.mesh.geometry.attributes.color;
    const paint = new THREE.Color();
    let vertex = 0;
    for (const [tint, count] of this.tints) {
      paint.set(colour && tint !== "visor" ? colour : scene[tint]);
      if (colour && tint === "torso") paint.offsetHSL(0, -0.08, 0.05);
      for (const stop = vertex + count; vertex < stop; vertex += 1) attribute.setXYZ(vertex, paint.r, paint.g, paint.b);
    }
    attribute.needsUpdate = true;
  }

  /** Take the pose: Float32Array, joints x 3. */
  pose(pose) {
    const [rightHip, leftHip, rightShoulder, leftShoulder] = this.motion.skeleton.face;
    const across = {
      hips: between(pose, rightHip, leftHip).normalize(), shoulders: between(pose, rightShoulder, leftShoulder).normalize(),
    };
    this.bones.forEach((bone, index) => {
      place(this.mesh.skeleton.bones[index].matrixWorld, bone, pose, across);
    });
  }

  dispose() {
    this.mesh.geometry.dispose();
    this.mesh.material.dispose();
    this.mesh.skeleton.dispose();
  }
}

/** Drawn after the floor (`transparent`), so that soles that dip into it are not painted over. */
function bodyMaterial() {
  return new THREE.MeshStandardMaterial({ vertexColors: true, roughness: 0.5, transparent: true });
}

/** Bones between joints; and for heels one from each ankle to the toes, which only carries what sits on it. */
function bonesOf(motion) {
  const { joints, parents } = motion.skeleton;
  const bone = (parent, joint, name) => ({
    joint, parent, above: parents[parent], name, full: joints[joint], length: typicalLength(motion, parent, joint),
    shape: BONES[name] ?? OTHER,
  });
  const bones = parents.flatMap((parent, joint) => (parent < 0 ? [] : [bone(parent, joint, sideAndName(joints[joint])[1])]));
  const ankles = joints.flatMap((name, joint) => (sideAndName(name)[1] === "ankle" ? [joint] : []));
  return [...bones, ...ankles.map((ankle) => bone(ankle, lastBelow(parents, ankle), "heel"))];
}

function lastBelow(parents, joint) {
  const child = parents.indexOf(joint);
  return child < 0 ? joint : lastBelow(parents, child);
}

function partsOf(bone, index, scale) {
  const { radii, wide = 1, deep = 1, belly = [0.5, 1], tint } = bone.shape;
  const extras = EXTRAS.filter((extra) => extra.bone === bone.name).map(({ end, offset: [x, y, z], radii: size, tint: own }) => ({
    index,
    tint: tintOf(bone.full, own),
    geometry: new THREE.SphereGeometry(1, ROUND, 16)
      .scale(...size.map((radius) => radius * scale))
      .translate(x * scale, end * bone.length + y * scale, z * scale),
  }));
  if (!radii) return extras;
  const capsule = capsuleGeometry(radii.map((radius) => radius * scale), bone.length, belly).scale(wide, 1, deep);
  return [{ index, tint: tintOf(bone.full, tint), geometry: capsule }, ...extras];
}

/** A rounded, tapered limb from the origin along +y. */
function capsuleGeometry([from, to], length, [bellyAt, bellyFactor]) {
  const profile = [];
  for (let ring = 0; ring <= CAP; ring += 1) {
    const angle = (Math.PI / 2) * (ring / CAP);
    profile.push([from * Math.sin(angle), -from * Math.cos(angle)]);
  }
  for (const share of [0.12, 0.25, 0.4, 0.55, 0.7, 0.85]) {
    const swell = 1 + (bellyFactor - 1) * Math.exp(-(((share - bellyAt) / 0.25) ** 2));
    profile.push([(from + (to - from) * share) * swell, length * share]);
  }
  for (let ring = 0; ring <= CAP; ring += 1) {
    const angle = (Math.PI / 2) * (1 - ring / CAP);
    profile.push([to * Math.sin(angle), length + to * Math.cos(angle)]);
  }
  return new THREE.LatheGeometry(profile.map(([x, y]) => new THREE.Vector2(Math.max(x, 1e-5), y)), ROUND);
}

function merged(parts) {
  const total = parts.reduce((sum, { geometry }) => sum + geometry.attributes.position.count, 0);
  const [position, normal, color] = [0, 0, 0].map(() => new Float32Array(total * 3));
  const skinIndex = new Uint16Array(total * 4);
  const skinWeight = new Float32Array(total * 4);
  const index = [];
  let first = 0;
  for (const { geometry, index: bone } of parts) {
    position.set(geometry.attributes.position.array, first * 3);
    normal.set(geometry.attributes.normal.array, first * 3);
    for (const corner of geometry.index.array) index.push(first + corner);
    const stop = first + geometry.attributes.position.count;
    for (let vertex = first; vertex < stop; vertex += 1) {
      skinIndex[vertex * 4] = bone;
      skinWeight[vertex * 4] = 1;
    }
    first = stop;
    geometry.dispose();
  }
  const whole = new THREE.BufferGeometry().setIndex(index);
  whole.setAttribute("position", new THREE.BufferAttribute(position, 3));
  whole.setAttribute("normal", new THREE.BufferAttribute(normal, 3));
  whole.setAttribute("color", new THREE.BufferAttribute(color, 3));
  whole.setAttribute("skinIndex", new THREE.BufferAttribute(skinIndex, 4));
  whole.setAttribute("skinWeight", new THREE.BufferAttribute(skinWeight, 4));
  return whole;
}

const [X, Y, Z] = [0, 0, 0].map(() => new THREE.Vector3());
const AXES = [new THREE.Vector3(1, 0, 0), new THREE.Vector3(0, 0, 1)];

/** The matrix of a bone: y along it (stretched where it is longer than usual), x across the body, origin at its parent. */
function place(matrix, bone, pose, across) {
  Y.copy(between(pose, bone.parent, bone.joint));
  const stretch = Y.length() / bone.length;
  Y.normalize();
  if (bone.shape.turn === "shin" && bone.above >= 0) {
    Z.copy(between(pose, bone.parent, bone.above)).normalize();
    X.crossVectors(Y, Z).addScaledVector(across.hips, -STRAIGHT);
  } else {
    X.copy(across[bone.shape.turn] ?? AXES[Math.abs(Y.x) > 0.8 ? 1 : 0]);
  }
  X.addScaledVector(Y, -X.dot(Y));
  if (X.lengthSq() < 1e-8) X.crossVectors(Y, AXES[Math.abs(Y.x) > 0.8 ? 1 : 0]);
  X.normalize();
  Z.crossVectors(X, Y);
  matrix.makeBasis(X, Y.multiplyScalar(stretch), Z);
  matrix.setPosition(pose[bone.parent * 3], pose[bone.parent * 3 + 1], pose[bone.parent * 3 + 2]);
}

function between(pose, from, to) {
  return new THREE.Vector3(
    pose[to * 3] - pose[from * 3], pose[to * 3 + 1] - pose[from * 3 + 1], pose[to * 3 + 2] - pose[from * 3 + 2],
  );
}

/** The median over up to 64 frames of a bone's length, metres. */
function typicalLength(motion, parent, joint) {
  const step = Math.max(1, Math.floor(motion.frames / 64));
  const lengths = [];
  for (let frame = 0; frame < motion.frames; frame += step) {
    const [a, b] = [motion.joint(frame, parent), motion.joint(frame, joint)];
    lengths.push(Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]));
  }
  return Math.max(1e-3, lengths.sort((a, b) => a - b)[lengths.length >> 1]);
}

function legLength(motion) {
  const { joints, parents } = motion.skeleton;
  const bones = joints.flatMap((name, joint) => (/_(knee|ankle)$/.test(name) ? [[parents[joint], joint]] : []));
  if (!bones.length) return LEG;
  return (2 * bones.reduce((sum, [parent, joint]) => sum + typicalLength(motion, parent, joint), 0)) / bones.length;
}
