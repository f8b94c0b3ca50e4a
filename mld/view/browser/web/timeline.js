// The ruler below the stage: seconds, prompts, tokens and foot contacts of one motion, drawn on a canvas; drag to seek.

import { tokenName } from "viewer/data.js";
import { byId } from "viewer/dom.js";

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300]; // seconds between numbers
const TICKS = 20; // height in pixels of each row
const PROMPTS = 22;
const TOKENS = 20;
const FEET = 6;
const FONT = "11px ui-sans-serif, system-ui, sans-serif";

export class Timeline {
  constructor(player, getMotion) {
    this.player = player;
    this.getMotion = getMotion;
    this.box = byId("ruler");
    this.canvas = this.box.querySelector("canvas");
    this.head = byId("head");
    this.tip = byId("tip");
    this.box.addEventListener("pointerdown", (event) => this.#drag(event));
    this.box.addEventListener("pointermove", (event) => this.#hint(event));
    this.box.addEventListener("pointerleave", () => { this.tip.hidden = true; });
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  /** Draw the rows anew: after a change of size, theme or motion. */
  draw() {
    const motion = this.getMotion();
    const style = getComputedStyle(document.documentElement);
    this.ink = (name) => style.getPropertyValue(`--${name}`).trim();
    this.width = this.box.clientWidth;
    const height = TICKS + (motion.prompts.length ? PROMPTS : 0) + (motion.tokens ? TOKENS : 0) + 2 * FEET + 3;
    this.box.style.height = `${height}px`;
    const ratio = Math.min(window.devicePixelRatio, 2);
    Object.assign(this.canvas, { width: this.width * ratio, height: height * ratio });
    Object.assign(this.canvas.style, { width: `${this.width}px`, height: `${height}px` });
    const paint = this.canvas.getContext("2d");
    paint.scale(ratio, ratio);
    paint.font = FONT;
    paint.textBaseline = "middle";
    this.#ticks(paint);
    if (motion.prompts.length) this.#prompts(paint, motion, TICKS);
    if (motion.tokens) this.#tokens(paint, motion, TICKS + (motion.prompts.length ? PROMPTS : 0));
    this.#feet(paint, motion, height - 2 * FEET - 1);
    this.update();
  }

  /** Put the head where the time is. */
  update() {
    const motion = this.getMotion();
    const frame = motion.frameAt(this.player.time);
    this.head.style.transform = `translateX(${this.#x(this.player.time)}px)`;
    const { box } = this;
    box.setAttribute("aria-valuemin", 0);
    box.setAttribute("aria-valuemax", this.player.duration.toFixed(2));
    box.setAttribute("aria-valuenow", this.player.time.toFixed(2));
    box.setAttribute("aria-valuetext", `${this.player.time.toFixed(2)} seconds, frame ${frame + 1} of ${motion.frames}`);
  }

  #x(time) {
    return (time / this.player.duration) * this.width;
  }

  #timeAt(event) {
    const left = this.box.getBoundingClientRect().left;
    return Math.min(Math.max(0, (event.clientX - left) / this.width), 1) * this.player.duration;
  }

  #drag(event) {
    const wasPlaying = this.player.playing;
    this.player.pause();
    this.player.seek(this.#timeAt(event));
    this.box.setPointerCapture(event.pointerId);
    const move = (moved) => this.player.seek(this.#timeAt(moved));
    const end = () => {
      this.box.removeEventListener("pointermove", move);
      if (wasPlaying) this.player.play();
    };
    this.box.addEventListener("pointermove", move);
    this.box.addEventListener("lostpointercapture", end, { once: true });
  }

  #hint(event) {
    const motion = this.getMotion();
    const time = this.#timeAt(event);
    const frame = motion.frameAt(time);
    const token = time < motion.duration ? motion.tokenAt(frame) : undefined;
    const prompt = motion.promptAt(frame);
    const said = prompt ? ` · ${prompt[2]}` : "";
    const covers = token ? ` · ${tokenName(token)}: frames ${token[0] + 1}–${token[1]}` : "";
    this.tip.textContent = `${time.toFixed(2)} s · frame ${frame + 1}${said}${covers}`;
    this.tip.hidden = false;
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(Math.max(this.#x(time), half), this.width - half)}px`;
  }

  #ticks(paint) {
    const { duration } = this.player;
    const step = STEPS.find((seconds) => this.#x(seconds) > 56) ?? STEPS.at(-1);
    const digits = step < 1 ? 1 : 0;
    for (let number = 0; number * step < duration + 1e-9; number += 1) {
      const x = this.#x(number * step);
      paint.fillStyle = this.ink("rule");
      paint.fillRect(Math.round(x), 2, 1, TICKS - 4);
      const words = `${(number * step).toFixed(digits)} s`;
      if (x + 6 + paint.measureText(words).width > this.width) continue;
      paint.fillStyle = this.ink("faint");
      paint.fillText(words, x + 5, TICKS / 2);
    }
  }

  /** A mark where words change, and the words after it, as far as there is room before the next. */
  #prompts(paint, motion, top) {
    for (const [start, stop, words] of motion.prompts) {
      const [from, to] = [this.#x(start / motion.fps), this.#x(stop / motion.fps)];
      paint.fillStyle = this.ink("said");
      paint.beginPath();
      paint.roundRect(from + 0.5, top, Math.max(1, to - from - 1), PROMPTS - 4, 4);
      paint.fill();
      paint.fillStyle = this.ink("accent");
      paint.fillRect(Math.round(from), top, 2, PROMPTS - 4);
      paint.fillStyle = this.ink("ink");
      paint.fillText(fitted(paint, words, to - from - 14), from + 8, top + (PROMPTS - 4) / 2 + 0.5);
    }
  }

  #tokens(paint, motion, top) {
    for (const [start, stop, label] of motion.tokens) {
      const [from, to] = [this.#x(start / motion.fps), this.#x(stop / motion.fps)];
      paint.fillStyle = `hsl(${hueOf(label)} ${this.ink("token")})`;
      paint.beginPath();
      paint.roundRect(from + 0.5, top, Math.max(1, to - from - 1), TOKENS - 3, 3);
      paint.fill();
      if (paint.measureText(label).width > to - from - 6) continue;
      paint.fillStyle = this.ink("ink");
      paint.textAlign = "center";
      paint.fillText(label, (from + to) / 2, top + (TOKENS - 3) / 2 + 0.5);
      paint.textAlign = "left";
    }
  }

  #feet(paint, motion, top) {
    ["left-foot", "right-foot"].forEach((name, column) => {
      const y = top + column * FEET;
      paint.fillStyle = this.ink("lane");
      paint.fillRect(0, y, this.#x(motion.duration), FEET - 2);
      paint.fillStyle = this.ink(name);
      for (let frame = 0; frame < motion.frames; frame += 1) {
        if (!motion.contacts[frame * 2 + column]) continue;
        let stop = frame + 1;
        while (stop < motion.frames && motion.contacts[stop * 2 + column]) stop += 1;
        paint.fillRect(this.#x(frame / motion.fps), y, this.#x((stop - frame) / motion.fps), FEET - 2);
        frame = stop;
      }
    });
  }
}

/** The words, cut to a width in pixels; nothing where not even a few letters fit. */
function fitted(paint, words, width) {
  if (paint.measureText(words).width <= width) return words;
  for (let length = words.length - 1; length > 2; length -= 1) {
    const cut = `${words.slice(0, length).trimEnd()}…`;
    if (paint.measureText(cut).width <= width) return cut;
  }
  return "";
}

/** The same label has the same hue everywhere. */
function hueOf(label) {
  let sum = 7;
  for (const letter of label) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return Math.round((sum * 137.508) % 360);
}
