// One motion in the scene: body, trail and footprints, in the pose of a time.

import * as THREE from "three";
import { Body } from "viewer/body.js";
import { Footprints, Trail } from "viewer/marks.js";
import { colourOf } from "viewer/theme.js";

const SOLE = 0.026; // metres from the lowest joints, which are inside the feet, to the floor
const CALM = 0.5; // seconds before and after, over which the point that the camera follows is averaged

export class Figure {
  constructor(motion) {
    this.motion = motion;
    this.body = new Body(motion);
    this.height = motion.floor - SOLE * this.body.scale;
    this.trail = new Trail(motion, this.height);
    this.prints = new Footprints(motion, this.height, this.body.scale);
    this.group = new THREE.Group().add(this.body.mesh, this.trail.group, this.prints.mesh);
    this.pose = new Float32Array(motion.count * 3);
    this.path = calmPath(motion);
  }

  paint(scene, byMotion) {
    const colour = byMotion ? colourOf(this.motion.index) : null;
    this.body.paint(scene, colour);
    this.prints.paint(scene, colour);
    this.trail.paint(colour ?? scene.trail);
  }

  update(time, smooth, { trail, contacts }) {
    const frame = this.motion.frameAt(time);
    this.body.pose(this.motion.poseAt(time, smooth, this.pose));
    this.trail.group.visible = trail;
    this.trail.update(frame);
    this.prints.update(frame);
    this.prints.mesh.visible &&= contacts;
  }

  /** Where a following camera looks: the calmed root on the floor, [x, z]. */
  place(time) {
    const at = Math.min(Math.max(0, time * this.motion.fps), this.motion.frames - 1);
    const [before, after] = [Math.floor(at), Math.ceil(at)];
    const mix = (axis) => this.path[before][axis] + (this.path[after][axis] - this.path[before][axis]) * (at - before);
    return [mix(0), mix(1)];
  }
}

function calmPath(motion) {
  const reach = Math.round(CALM * motion.fps);
  const sums = [[0, 0]];
  for (let frame = 0; frame < motion.frames; frame += 1) {
    const [x, , z] = motion.joint(frame, 0);
    sums.push([sums[frame][0] + x, sums[frame][1] + z]);
  }
  return Array.from({ length: motion.frames }, (_, frame) => {
    const window = Math.min(reach, frame, motion.frames - 1 - frame); // even on both sides, so that ends are not pulled in
    const [first, last] = [frame - window, frame + window + 1];
    return [0, 1].map((axis) => (sums[last][axis] - sums[first][axis]) / (last - first));
  });
}
