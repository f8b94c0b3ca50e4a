// The figure of a stream: frames come in at the end, and go when they were shown.

import * as THREE from "three";
import { Body } from "viewer/body.js";

const SOLE = 0.026; // metres from the lowest joints, which are inside the feet, to the floor
const CALM = 3.7; // 1/s; of the way to the figure, the camera has a share of exp(-CALM t) left, however often it is drawn

export class LiveFigure {
  /** about: of the stream. chunk: its first one, from which the body takes its size. */
  constructor(about, chunk) {
    this.fps = about.fps;
    this.count = about.joints.length;
    this.skeleton = { joints: about.joints, parents: about.parents, face: about.face };
    this.frames = chunk.frames;
    this.first = chunk.firstFrame;
    this.poses = [];
    this.push(chunk);
    this.body = new Body(this);
    this.group = new THREE.Group().add(this.body.mesh);
    this.floor = Math.min(...this.poses.flatMap((pose) => this.#heights(pose)));
    this.height = this.floor - SOLE * this.body.scale;
    this.pose = new Float32Array(this.count * 3);
    this.at = this.first / this.fps;
    this.now = [this.poses[0][0], this.poses[0][2]];
  }

  push({ frames, joints }) {
    const width = this.count * 3;
    for (let frame = 0; frame < frames; frame += 1) this.poses.push(joints.subarray(frame * width, (frame + 1) * width));
  }

  /** Seconds that can be shown without waiting. */
  get ahead() {
    return (this.first + this.poses.length - 1) / this.fps - this.at;
  }

  /** The frame that is shown. */
  get frame() {
    return Math.floor(this.at * this.fps + 1e-4);
  }

  /** Let time pass, as far as there are frames. */
  tick(seconds) {
    this.at += Math.min(seconds, Math.max(0, this.ahead));
    while (this.first < this.frame && this.poses.length > 2) {
      this.poses.shift();
      this.first += 1;
    }
    // Sums of times miss a frame by a rounding error, on either side.
    const at = Math.max(0, Math.min(this.at * this.fps - this.first, this.poses.length - 1));
    const [before, after] = [this.poses[Math.floor(at)], this.poses[Math.ceil(at)]];
    const part = at - Math.floor(at);
    for (let i = 0; i < this.pose.length; i += 1) this.pose[i] = before[i] + (after[i] - before[i]) * part;
    this.body.pose(this.pose);
    const share = 1 - Math.exp(-CALM * seconds);
    this.now = [0, 2].map((axis, i) => this.now[i] + (this.pose[axis] - this.now[i]) * share);
  }

  paint(scene) {
    this.body.paint(scene);
  }

  /** Where a following camera looks, [x, z]. */
  place() {
    return this.now;
  }

  /** What the body asks of a motion: position [x, y, z] of a joint in a frame. */
  joint(frame, joint) {
    return [...this.poses[frame].subarray(joint * 3, joint * 3 + 3)];
  }

  #heights(pose) {
    return Array.from({ length: this.count }, (_, joint) => pose[joint * 3 + 1]);
  }
}
