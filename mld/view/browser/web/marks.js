// What a motion leaves on the floor: the path of the root, and a print wherever a foot stood.

import * as THREE from "three";

const WIDTH = 0.03; // metres, of the trail
const LIFT = 0.004; // metres above the floor
const LAYERS = { past: 0.9, whole: 0.22 };

export class Trail {
  constructor(motion, height) {
    this.motion = motion;
    const geometry = ribbon(motion, height + LIFT);
    this.whole = new THREE.Mesh(geometry, material(LAYERS.whole));
    this.past = new THREE.Mesh(geometry.clone(), material(LAYERS.past));
    this.group = new THREE.Group().add(this.whole, this.past);
    for (const mesh of this.group.children) Object.assign(mesh, { renderOrder: -1, frustumCulled: false });
  }

  paint(colour) {
    for (const mesh of this.group.children) mesh.material.color.set(colour);
  }

  update(frame) {
    this.past.geometry.setDrawRange(0, frame * 6);
  }
}

/** Prints appear when a foot comes down; those of feet that stand now are strong. */
export class Footprints {
  constructor(motion, height, scale) {
    this.prints = printsOf(motion);
    const shape = new THREE.CapsuleGeometry(0.042 * scale, 0.13 * scale, 6, 16).scale(1, 1, 0.001).rotateX(-Math.PI / 2);
    this.mesh = new THREE.InstancedMesh(shape, new THREE.MeshBasicMaterial({ depthWrite: false, transparent: true, opacity: 0.85 }), Math.max(1, this.prints.length));
    Object.assign(this.mesh, { renderOrder: -1, frustumCulled: false });
    const turn = new THREE.Object3D();
    this.prints.forEach(({ x, z, yaw }, index) => {
      turn.position.set(x, height + LIFT, z);
      turn.rotation.y = yaw;
      turn.updateMatrix();
      this.mesh.setMatrixAt(index, turn.matrix);
    });
    this.colours = { left: new THREE.Color(), right: new THREE.Color(), ground: new THREE.Color() };
  }

  paint(scene, colour = null) {
    this.colours.left.set(colour ?? scene.leftLeg);
    this.colours.right.set(colour ?? scene.rightLeg);
    this.colours.ground.set(scene.ground);
  }

  update(frame) {
    const colour = new THREE.Color();
    let started = 0;
    this.prints.forEach(({ start, stop, side }, index) => {
      if (start <= frame) started = index + 1;
      colour.copy(this.colours[side]);
      if (frame >= stop) colour.lerp(this.colours.ground, 0.72);
      this.mesh.setColorAt(index, colour);
    });
    this.mesh.count = started;
    this.mesh.visible = started > 0;
    if (this.mesh.instanceColor) this.mesh.instanceColor.needsUpdate = true;
  }
}

function material(opacity) {
  return new THREE.MeshBasicMaterial({ transparent: true, opacity, depthWrite: false, side: THREE.DoubleSide });
}

/** A flat band along the path of the root; six indices per frame step. */
function ribbon(motion, height) {
  const corners = new Float32Array(motion.frames * 6);
  let side = [1, 0];
  for (let frame = 0; frame < motion.frames; frame += 1) {
    const before = motion.joint(Math.max(0, frame - 1), 0);
    const after = motion.joint(Math.min(motion.frames - 1, frame + 1), 0);
    const [dx, dz] = [after[0] - before[0], after[2] - before[2]];
    const length = Math.hypot(dx, dz);
    if (length > 1e-5) side = [-dz / length, dx / length];
    const [x, , z] = motion.joint(frame, 0);
    const [sx, sz] = side.map((part) => (part * WIDTH) / 2);
    corners.set([x - sx, height, z - sz, x + sx, height, z + sz], frame * 6);
  }
  const index = [];
  for (let corner = 0; corner < 2 * (motion.frames - 1); corner += 2) {
    index.push(corner, corner + 1, corner + 2, corner + 2, corner + 1, corner + 3);
  }
  return new THREE.BufferGeometry().setIndex(index).setAttribute("position", new THREE.BufferAttribute(corners, 3));
}

/** Every stretch of frames in which a foot stands: { start, stop, side, x, z, yaw }, in the order in which they start. */
function printsOf(motion) {
  const prints = ["left", "right"].flatMap((side, column) => {
    const feet = motion.skeleton[`${side}_foot`];
    const stretches = [];
    let start = null;
    for (let frame = 0; frame <= motion.frames; frame += 1) {
      const stands = frame < motion.frames && motion.contacts[frame * 2 + column];
      if (stands && start === null) start = frame;
      if (!stands && start !== null) {
        stretches.push(print(motion, feet, side, start, frame));
        start = null;
      }
    }
    return stretches;
  });
  return prints.sort((a, b) => a.start - b.start);
}

function print(motion, feet, side, start, stop) {
  const middle = (start + stop - 1) >> 1;
  const [heel, toe] = [motion.joint(middle, feet[0]), motion.joint(middle, feet.at(-1))];
  return {
    start, stop, side,
    x: (heel[0] + toe[0]) / 2, z: (heel[2] + toe[2]) / 2,
    yaw: Math.atan2(toe[0] - heel[0], toe[2] - heel[2]),
  };
}
