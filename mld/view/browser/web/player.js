// The clock: time in seconds, playing or not, speed, loop. Says `change` when any of it changes.

export const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2, 4];

export class Player extends EventTarget {
  constructor(duration) {
    super();
    this.duration = duration;
    this.time = 0;
    this.speed = 1;
    this.loop = true;
    this.playing = false;
  }

  play() {
    if (this.time >= this.duration - 1e-6) this.time = 0;
    this.#set({ playing: true });
  }

  pause() {
    this.#set({ playing: false });
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  /** To a time in seconds. */
  seek(time) {
    this.#set({ time: Math.min(Math.max(0, time), this.duration - 1e-6) });
  }

  setSpeed(speed) {
    this.#set({ speed });
  }

  /** The next speed up (+1) or down (-1) of the list. */
  changeSpeed(step) {
    const at = SPEEDS.indexOf(this.speed);
    this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at + step))]);
  }

  setLoop(loop) {
    this.#set({ loop });
  }

  setDuration(duration) {
    this.#set({ duration, time: Math.min(this.time, duration - 1e-6) });
  }

  /** Let `seconds` of real time pass. */
  tick(seconds) {
    if (!this.playing) return;
    const time = this.time + seconds * this.speed;
    if (time < this.duration) this.#set({ time });
    else if (this.loop) this.#set({ time: time % this.duration });
    else this.#set({ time: this.duration - 1e-6, playing: false });
  }

  #set(values) {
    Object.assign(this, values);
    this.dispatchEvent(new Event("change"));
  }
}
