// Motions of the page: what `payload.py` packed, unpacked.

/** What a part of the ruler is called: codes ("37") and latents ("z0") are tokens, all else is words. */
export const tokenName = ([, , label]) => (/^z?\d/.test(label) && !label.includes(" ") ? `token ${label}` : label);

export class Motion {
  constructor(index, description, joints, contacts) {
    Object.assign(this, description); // caption, label, stem, fps, frames, skeleton, floor, facing, tokens, prompts, downloads
    this.index = index;
    this.joints = joints; // Float32Array, frames x joints x 3, metres
    this.contacts = contacts; // Uint8Array, frames x 2 (left, right)
    this.count = description.skeleton.joints.length;
    this.duration = this.frames / this.fps;
  }

  /** The frame that is shown at a time (s). */
  frameAt(time) {
    return Math.min(this.frames - 1, Math.max(0, Math.floor(time * this.fps + 1e-4)));
  }

  /** Joints at a time, between two frames on the straight line: Float32Array, joints x 3. */
  poseAt(time, smooth, pose = new Float32Array(this.count * 3)) {
    const frame = this.frameAt(time);
    const next = Math.min(frame + 1, this.frames - 1);
    const part = smooth ? Math.min(1, Math.max(0, time * this.fps - frame)) : 0;
    const [from, to] = [frame * pose.length, next * pose.length];
    for (let i = 0; i < pose.length; i += 1) {
      pose[i] = this.joints[from + i] * (1 - part) + this.joints[to + i] * part;
    }
    return pose;
  }

  /** Position [x, y, z] of a joint in a frame. */
  joint(frame, joint) {
    const at = (frame * this.count + joint) * 3;
    return [this.joints[at], this.joints[at + 1], this.joints[at + 2]];
  }

  /** The token that covers a frame: [start, stop, label], or undefined. */
  tokenAt(frame) {
    return this.tokens?.find(([start, stop]) => start <= frame && frame < stop);
  }

  /** The words that hold in a frame: [start, stop, words], or undefined. */
  promptAt(frame) {
    return this.prompts.find(([start, stop]) => start <= frame && frame < stop);
  }

  get name() {
    return this.caption || this.label || `motion ${this.index + 1}`;
  }

  get facts() {
    return `${this.duration.toFixed(1)} s · ${this.frames} frames · ${+this.fps.toFixed(2)} fps`;
  }
}

/** Everything of the page: { title, embed, theme, motions }. */
export async function load() {
  const description = JSON.parse(document.getElementById("description").textContent);
  const motions = description.motions.map(async (motion, index) => {
    const [joints, contacts] = await Promise.all([unpacked(motion.joints), unpacked(motion.contacts)]);
    return new Motion(index, motion, new Float32Array(joints), new Uint8Array(contacts));
  });
  return { ...description, motions: await Promise.all(motions) };
}

/** The bytes of a packed array: ArrayBuffer. */
export function unpacked(number) {
  return window.mldUnpack(document.getElementsByClassName("packed")[number].textContent);
}
