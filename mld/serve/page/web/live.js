// The page under `live/`: a figure that moves while words are typed. `window.mldLive` is what tests hold on to.

import { Orbit } from "viewer/camera.js";
import { byId } from "viewer/dom.js";
import { fillLegend } from "viewer/legend.js";
import { Stage } from "viewer/stage.js";
import { Theme } from "viewer/theme.js";
import { LiveFigure } from "live/figure.js";

const BUFFER = 0.3; // seconds that are there before the figure moves
const HIDDEN = 2000; // milliseconds between two questions of a page that nobody sees
const AGAIN = [300, 1000, 3000]; // milliseconds until a question that failed is asked again
const PAST = 8, COMING = 2; // seconds on the strip of marks
const ROW = 20; // pixels of its words
const FONT = "12px ui-sans-serif, system-ui, sans-serif";

export async function start() {
  window.mldLive = new Live(decodeURIComponent(location.hash.slice(1)));
}

class Live {
  constructor(model) {
    Object.assign(this, { model, run: null, figure: null, texts: [], received: 0, fps: 20, running: false });
    this.theme = new Theme("auto");
    this.stage = new Stage(byId("canvas"), 0);
    this.orbit = new Orbit(byId("canvas"), 0, () => {});
    this.orbit.zoomOnlyWhenUsed();
    this.theme.addEventListener("change", () => this.paint());
    new ResizeObserver(() => this.resize()).observe(byId("stage"));
    byId("talk").addEventListener("submit", (event) => { event.preventDefault(); this.talk(byId("words").value.trim()); });
    byId("stop").addEventListener("click", () => this.stop());
    byId("reset").addEventListener("click", () => this.reset());
    addEventListener("pagehide", () => this.run && navigator.sendBeacon("stop", JSON.stringify({ run: this.run })));
    this.paint();
    this.buttons();
    requestAnimationFrame((now) => this.draw(now));
  }

  /** Start with these words, or say them to the figure that moves. */
  async talk(text) {
    if (!text) return;
    this.problem("");
    byId("words").select();
    const running = this.running;
    if (!running) this.begin();
    try {
      if (running) this.texts = (await ask("say", { run: this.run, text })).texts;
      else this.follow(await ask("start", { text, seed: Number(byId("seed").value || 0), model: this.model }));
      if (byId("words").value.trim() === text) byId("words").value = "";
    } catch (error) {
      if (!running) this.ended();
      this.problem(error.message);
    }
  }

  begin() {
    this.figure?.group.removeFromParent();
    Object.assign(this, { run: null, figure: null, texts: [], received: 0, running: true, waiting: true });
    this.stage.figures = [];
    this.buttons();
  }

  /** Ask for what follows, until it ends. about: what `start` answered. */
  async follow(about) {
    Object.assign(this, { about, run: about.run, fps: about.fps, texts: about.texts });
    this.buttons();
    let tries = 0;
    while (this.run === about.run && this.running) {
      try {
        const answer = await ask("next", { run: about.run, shown: this.figure?.frame ?? 0 });
        if (this.run !== about.run || !this.running) return;
        tries = 0;
        this.texts = answer.texts;
        for (const chunk of answer.chunks) this.take(chunk);
        if (answer.ended) this.ended(answer.why);
      } catch (error) {
        if (this.run !== about.run) return;
        if (error.refused || tries >= AGAIN.length) this.ended(error.message);
        else await pause(AGAIN[tries]);
        tries += 1;
      }
      if (document.hidden) await pause(HIDDEN);
    }
  }

  take({ frames, first, joints }) {
    const bytes = Uint8Array.from(atob(joints), (letter) => letter.charCodeAt(0));
    const chunk = { frames, firstFrame: first, joints: new Float32Array(bytes.buffer) };
    this.received = first + frames;
    if (this.figure) {
      this.figure.push(chunk);
      return;
    }
    this.figure = new LiveFigure(this.about, chunk);
    this.figure.paint(this.theme.scene);
    this.stage.add(this.figure);
    this.buttons();
  }

  async stop() {
    const { run } = this;
    this.ended();
    if (run) await ask("stop", { run }).catch(() => {});
  }

  async reset() {
    await this.stop();
    this.begin();
    this.ended();
    this.problem("");
    this.orbit.reset();
    byId("words").value = "";
    byId("words").focus();
  }

  ended(why = "") {
    this.running = false;
    this.run = null;
    if (why) this.problem(why);
    this.buttons();
  }

  problem(text) {
    byId("problem").textContent = text;
    byId("problem").hidden = !text;
  }

  buttons() {
    byId("say").textContent = this.running ? "Say" : "Start";
    byId("stop").disabled = !this.running;
    byId("words").placeholder = this.running ? "now they sit down" : "a person walks forward";
    byId("empty").hidden = Boolean(this.figure) || this.running;
  }

  /** The words that hold in the frame that is shown. */
  get words() {
    if (!this.figure) return this.texts[0]?.[1] ?? "";
    return this.texts.findLast(([frame]) => frame <= this.figure.frame)?.[1] ?? "";
  }

  draw(now) {
    const seconds = Math.min(0.1, (now - (this.last ?? now)) / 1000);
    this.last = now;
    if (this.figure) {
      if (this.figure.ahead > BUFFER || !this.running) this.waiting = false;
      else if (this.figure.ahead <= 0) this.waiting = true;
      this.figure.tick(this.waiting ? 0 : seconds);
      this.orbit.update();
      const pane = { key: "live", x: 0, y: 0, width: this.width, height: this.height, top: 0, figures: [this.figure] };
      this.stage.render([pane], (camera) => this.orbit.aim(camera, pane, this.figure.at));
    } else this.stage.render([], null);
    this.tell();
    this.strip();
    requestAnimationFrame((then) => this.draw(then));
  }

  tell() {
    const { figure } = this;
    const kind = this.about?.native === false ? " · in windows" : "";
    const moving = this.waiting ? "making motion" : `${figure?.ahead.toFixed(1)} s ahead${kind}`;
    const state = !figure ? (this.running ? "making motion" : "") : `${figure.at.toFixed(1)} s · ${this.running ? moving : "stopped"}`;
    if (byId("state").textContent !== state) byId("state").textContent = state;
    if (byId("now").textContent !== this.words) byId("now").textContent = this.words;
  }

  /** The strip below: what was said when, around now. */
  strip() {
    const canvas = byId("marks");
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const paint = canvas.getContext("2d");
    paint.setTransform(ratio, 0, 0, ratio, 0, 0);
    paint.clearRect(0, 0, width, height);
    Object.assign(paint, { font: FONT, textBaseline: "middle" });
    const at = this.figure?.at ?? 0;
    const from = Math.max(0, at - PAST);
    const x = (time) => ((time - from) / (PAST + COMING)) * width;
    this.ticks(paint, x, from, width, height);
    const end = this.received / this.fps;
    this.texts.forEach(([frame, words], index) => {
      const start = frame / this.fps;
      const stop = Math.max(start, (this.texts[index + 1]?.[0] ?? Infinity) / this.fps);
      if (stop <= from || start === stop) return;
      this.mark(paint, words, x(start), x(Math.min(stop, Math.max(end, start))), height, width);
    });
    if (!this.figure) return;
    paint.fillStyle = ink("accent");
    paint.fillRect(x(at) - 1, 0, 2, height);
  }

  ticks(paint, x, from, width, height) {
    for (let second = Math.ceil(from); x(second) < width; second += 1) {
      paint.fillStyle = ink("rule");
      paint.fillRect(Math.round(x(second)), 0, 1, height - ROW - 4);
      if (second % 2 || x(second) + 30 > width || height < 40) continue;
      paint.fillStyle = ink("faint");
      paint.fillText(`${second} s`, x(second) + 5, (height - ROW) / 2 - 1);
    }
  }

  mark(paint, words, from, to, height, width) {
    const left = Math.max(0, from);
    const top = height - ROW;
    paint.fillStyle = ink("said");
    paint.beginPath();
    paint.roundRect(left + 0.5, top, Math.max(2, to - left - 1), ROW, 4);
    paint.fill();
    paint.fillStyle = ink("accent");
    if (from >= 0) paint.fillRect(Math.round(from), top, 2, ROW);
    paint.save();
    paint.beginPath();
    paint.rect(left, top, Math.max(0, Math.min(to, width) - left - 4), ROW);
    paint.clip();
    paint.fillStyle = ink("ink");
    paint.fillText(words, left + 8, top + ROW / 2 + 0.5);
    paint.restore();
  }

  paint() {
    this.stage.paint(this.theme.scene);
    this.figure?.paint(this.theme.scene);
    fillLegend(byId("legend"), this.theme.scene);
  }

  resize() {
    const { clientWidth, clientHeight } = byId("stage");
    [this.width, this.height] = [clientWidth, clientHeight];
    this.stage.resize(clientWidth, clientHeight);
  }
}

function ink(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function pause(milliseconds) {
  return new Promise((done) => setTimeout(done, milliseconds));
}

/** The answer of the server; an Error with its sentence, `refused` where asking again does not help. */
async function ask(what, question) {
  const body = JSON.stringify(question);
  const error = "The server cannot be reached.";
  const answer = await fetch(what, { method: "POST", body, headers: { "Content-Type": "application/json" } }).catch(() => {
    throw new Error(error); // browsers say it in words of their own
  });
  const said = await answer.json().catch(() => ({ error }));
  if (answer.ok) return said;
  throw Object.assign(new Error(said.error), { refused: answer.status < 500 });
}
