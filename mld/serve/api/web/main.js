// The page `/live`. `window.mldLive` is what scripts and tests hold on to.

import { Orbit } from "viewer/camera.js";
import { byId, element } from "viewer/dom.js";
import { fillLegend } from "viewer/legend.js";
import { Stage } from "viewer/stage.js";
import { Theme } from "viewer/theme.js";
import { LiveFigure } from "live/figure.js";
import { Stream } from "live/stream.js";

const BUFFER = 0.25; // seconds that are there before the figure moves
const LINES = 4; // of what was said, on the stage

export async function start() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? "";
  const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`;
  window.mldLive = new Live(address, token);
}

class Live {
  constructor(address, token) {
    Object.assign(this, { address, token, figure: null, stream: null, playing: false, marks: [], shown: [] });
    this.theme = new Theme("auto");
    this.stage = new Stage(byId("canvas"), 0);
    this.orbit = new Orbit(byId("canvas"), 0, () => {});
    this.theme.addEventListener("change", () => this.paint());
    new ResizeObserver(() => this.resize()).observe(byId("stage"));
    byId("talk").addEventListener("submit", (event) => { event.preventDefault(); this.talk(byId("words").value.trim()); });
    byId("pause").addEventListener("click", () => this.pause(this.playing));
    byId("stop").addEventListener("click", () => this.stream?.stop());
    this.paint();
    requestAnimationFrame((now) => this.draw(now));
  }

  talk(text) {
    if (!text) return;
    byId("problem").hidden = true;
    if (this.running) this.stream.say(text);
    else this.begin(text);
    byId("words").value = "";
  }

  begin(text) {
    if (this.figure) this.figure.group.removeFromParent();
    Object.assign(this, { figure: null, chunks: [], playing: true, running: true, marks: [{ frame: 0, text }] });
    this.stage.figures = [];
    const stream = this.stream = new Stream(this.address, this.token);
    stream.addEventListener("state", ({ detail }) => this.state(detail));
    stream.addEventListener("problem", ({ detail }) => this.problem(detail));
    stream.addEventListener("chunk", ({ detail }) => this.take(detail));
    stream.addEventListener("said", ({ detail }) => this.marks.push(detail));
    for (const end of ["ended", "stopped"]) stream.addEventListener(end, ({ detail }) => this.end(detail));
    stream.start(text);
    this.buttons();
  }

  take(chunk) {
    this.chunks.push([chunk.sequence, chunk.firstFrame + chunk.frames]);
    if (this.figure) {
      this.figure.push(chunk);
      return;
    }
    this.figure = new LiveFigure(this.stream.about, chunk);
    this.figure.paint(this.theme.scene);
    this.stage.add(this.figure);
    this.waiting = true;
  }

  pause(on) {
    this.playing = !on;
    this.stream?.pause(on);
    this.buttons();
  }

  end(detail) {
    this.running = false;
    this.state("ended");
    if (detail.error) this.problem(detail.error);
    this.stream.socket.close();
    this.buttons();
  }

  problem(text) {
    byId("problem").textContent = text;
    byId("problem").hidden = false;
    if (this.stream && !this.stream.about) this.running = false;
    this.buttons();
  }

  state(text) {
    byId("state").textContent = text;
  }

  buttons() {
    byId("say").textContent = this.running ? "Say" : "Start";
    byId("words").placeholder = this.running ? "now they sit down" : "a person walks forward";
    for (const id of ["pause", "stop"]) byId(id).hidden = !this.running;
    byId("pause").textContent = this.playing ? "Pause" : "Go on";
    byId("pause").ariaPressed = String(!this.playing);
  }

  draw(now) {
    const seconds = Math.min(0.1, (now - (this.last ?? now)) / 1000);
    this.last = now;
    if (this.figure) {
      if (this.waiting && (this.figure.ahead > BUFFER || !this.running)) this.waiting = false;
      if (this.figure.ahead <= 0 && this.running) this.waiting = true;
      this.figure.tick(this.playing && !this.waiting ? seconds : 0);
      this.acknowledge();
      this.captions();
      this.orbit.update();
      const pane = { key: "live", x: 0, y: 0, width: this.width, height: this.height, top: 0, figures: [this.figure] };
      this.stage.render([pane], (camera) => this.orbit.aim(camera, pane, this.figure.at));
    }
    requestAnimationFrame((then) => this.draw(then));
  }

  /** Tell the server of chunks that were shown. */
  acknowledge() {
    let last = -1;
    while (this.chunks.length && this.chunks[0][1] <= this.figure.frame + 1) [last] = this.chunks.shift();
    if (last >= 0) this.stream.acknowledge(last);
    if (this.running) this.state(`${this.figure.at.toFixed(1)} s · ${Math.round(this.figure.ahead * 1000)} ms ahead`);
  }

  captions() {
    const shown = this.marks.filter(({ frame }) => frame <= this.figure.frame).slice(-LINES);
    if (shown.length === this.shown.length && shown.at(-1) === this.shown.at(-1)) return;
    this.shown = shown;
    byId("said").replaceChildren(...shown.map(({ frame, text }) => element("li", {}, [
      element("span", { className: "time", textContent: `${(frame / this.figure.fps).toFixed(1)} s` }), text,
    ])));
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
