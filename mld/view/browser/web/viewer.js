// The viewer: joins clock, scene, panes and controls, and holds what is shown and how.

import { actionsOf, bindKeys, helpSheet, makeButtons } from "viewer/actions.js";
import { Orbit } from "viewer/camera.js";
import { tokenName } from "viewer/data.js";
import { byId, element, save } from "viewer/dom.js";
import { downloadSheet } from "viewer/downloads.js";
import { Figure } from "viewer/figure.js";
import { fillLegend } from "viewer/legend.js";
import { fillList } from "viewer/list.js";
import { label, layOut, mostPanes } from "viewer/panes.js";
import { Player, SPEEDS } from "viewer/player.js";
import { Stage } from "viewer/stage.js";
import { Theme } from "viewer/theme.js";
import { Timeline } from "viewer/timeline.js";

const NARROW = 720; // pixels; below it the list lies over the stage

export class Viewer {
  constructor({ motions, together, embed, theme }) {
    this.motions = motions;
    this.canvas = byId("canvas");
    this.options = {
      together, follow: true, trail: true, contacts: true, byMotion: null,
      list: false,
    };
    this.theme = new Theme(theme);
    this.player = new Player(Math.max(...motions.map(({ duration }) => duration)));
    this.stage = new Stage(this.canvas, motions[0].facing);
    this.figures = new Map(); // by index, made when they are first shown
    this.orbit = new Orbit(this.canvas, motions[0].facing, () => this.draw());
    this.active = 0;
    this.timeline = new Timeline(this.player, () => motions[this.active]);
    this.#controls();
    this.timeline.draw(); // now the stage has its size
    this.#measure();
    this.options.list = this.pages > 1 && !embed && window.innerWidth >= NARROW;
    this.#measure();
    this.#listen(embed);
    this.#showPage(0);
  }

  get byMotion() {
    return this.options.byMotion ?? (this.options.together && this.shown.length > 1);
  }

  get pages() {
    return Math.ceil(this.motions.length / this.perPage);
  }

  set(option, value) {
    this.options[option] = value;
    this.orbit.setFollow(this.options.follow);
    this.#paint();
    this.arrange();
  }

  figure(index) {
    if (!this.figures.has(index)) {
      const figure = new Figure(this.motions[index]);
      figure.paint(this.theme.scene, this.byMotion);
      this.stage.add(figure);
      this.figures.set(index, figure);
    }
    return this.figures.get(index);
  }

  /** Show these motions, by index. */
  show(shown) {
    this.shown = [...shown].sort((a, b) => a - b);
    if (!this.shown.includes(this.active)) [this.active] = this.shown;
    this.#paint();
    this.arrange();
  }

  toggleMotion(index) {
    if (!this.motions[index]) return;
    const others = this.shown.filter((shown) => shown !== index);
    if (others.length === this.shown.length) this.active = index;
    this.show(others.length === this.shown.length || !others.length ? [...others, index] : others);
  }

  /** This motion alone, or the page that it is on. */
  solo(index) {
    if (this.shown.length > 1) this.show([index]);
    else this.#showPage(Math.floor(index / this.perPage));
  }

  turnPage(step) {
    const page = Math.floor(this.shown[0] / this.perPage) + step;
    this.#showPage((page + this.pages) % this.pages);
  }

  #showPage(page) {
    this.show(this.motions.slice(page * this.perPage, (page + 1) * this.perPage).map(({ index }) => index));
  }

  activate(index) {
    this.active = index;
    this.arrange();
  }

  step(frames) {
    this.player.pause();
    const motion = this.motions[this.active];
    this.player.seek((Math.floor(this.player.time * motion.fps + 1e-4) + frames) / motion.fps);
  }

  resetCamera() {
    this.orbit.reset();
    this.draw();
  }

  openSheet(id) {
    for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== id || !sheet.hidden;
    this.refresh();
  }

  /** The stage as it is now, as a canvas. */
  picture() {
    this.drawNow();
    const copy = element("canvas", { width: this.canvas.width, height: this.canvas.height });
    const paint = copy.getContext("2d");
    paint.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    paint.fillRect(0, 0, copy.width, copy.height);
    paint.drawImage(this.canvas, 0, 0);
    return copy;
  }

  savePicture() {
    const { stem } = this.motions[this.active];
    this.picture().toBlob((blob) => save(`${stem}.png`, blob, "image/png"));
  }

  /** Panes and words anew, after a change of size or of what is shown. */
  arrange() {
    this.#measure();
    this.player.setDuration(Math.max(...this.shown.map((index) => this.motions[index].duration)));
    const figures = this.shown.map((index) => this.figure(index));
    this.panes = layOut(figures, this.options.together, this.width, this.height);
    label(byId("panes"), this.panes, { several: this.motions.length > 1, active: this.active, framed: this.panes.length > 1 });
    byId("list").hidden = !this.options.list;
    if (this.options.list) fillList(byId("list"), this);
    document.documentElement.classList.toggle("listed", this.options.list);
    this.timeline.draw();
    this.refresh();
    this.draw();
  }

  /** Draw soon; many calls make one picture. */
  draw() {
    this.dirty = true;
    this.pending ??= requestAnimationFrame((now) => this.#frame(now));
  }

  drawNow() {
    const { player, options } = this;
    for (const index of this.shown) this.figure(index).update(player.time, player.playing, options);
    this.stage.render(this.panes, (camera, pane) => this.orbit.aim(camera, pane, player.time));
    this.drawn = (this.drawn ?? 0) + 1;
  }

  #frame(now) {
    this.pending = null;
    if (this.player.playing) this.player.tick(Math.min(0.1, (now - (this.last ?? now)) / 1000));
    this.last = this.player.playing ? now : null;
    this.dirty = this.orbit.update() || this.dirty;
    if (this.dirty) this.drawNow();
    this.dirty = false;
    if (this.player.playing) this.draw();
  }

  #measure() {
    const narrow = window.innerWidth < NARROW;
    const side = this.options.list && !narrow ? byId("list").offsetWidth || 270 : 0;
    const { clientWidth, clientHeight } = byId("stage");
    [this.width, this.height] = [clientWidth - side, clientHeight];
    this.perPage = mostPanes(this.width, this.height);
    this.stage.resize(this.width, this.height);
  }

  #paint() {
    this.stage.paint(this.theme.scene);
    for (const figure of this.figures.values()) figure.paint(this.theme.scene, this.byMotion);
    fillLegend(byId("legend"), this.theme.scene);
    byId("legend").hidden = this.byMotion;
  }

  #controls() {
    const actions = actionsOf(this);
    const refreshButtons = makeButtons(actions);
    const clock = element("output", { id: "clock" });
    const speed = element("select", { id: "speed", title: "Speed", ariaLabel: "Speed" },
      SPEEDS.map((value) => element("option", { value, textContent: `${value}×` })));
    speed.addEventListener("change", () => this.player.setSpeed(Number(speed.value)));
    byId("transport").append(clock, speed);
    helpSheet(byId("help"), actions);
    downloadSheet(byId("downloads"), this.motions);
    bindKeys(actions);
    this.refresh = () => {
      refreshButtons();
      const motion = this.motions[this.active];
      const frame = motion.frameAt(this.player.time);
      const token = motion.tokenAt(frame);
      clock.replaceChildren(
        element("span", {}, [element("b", { textContent: this.player.time.toFixed(2) }), ` / ${this.player.duration.toFixed(2)} s`]),
        element("span", { textContent: `frame ${frame + 1} / ${motion.frames}` }),
        ...(token ? [element("span", { className: "token", textContent: tokenName(token) })] : []),
      );
      speed.value = this.player.speed;
      document.documentElement.classList.toggle("playing", this.player.playing);
      this.timeline.update();
    };
  }

  #listen(embed) {
    this.player.addEventListener("change", () => { this.refresh(); this.draw(); });
    this.theme.addEventListener("change", () => { this.#paint(); this.timeline.draw(); this.draw(); });
    new ResizeObserver(() => this.arrange()).observe(byId("stage"));
    byId("panes").addEventListener("click", (event) => {
      const caption = event.target.closest(".caption");
      if (caption) this.activate(Number(caption.dataset.motion));
    });
    this.canvas.addEventListener("dblclick", ({ offsetX: x, offsetY: y }) => {
      const pane = this.panes.find((one) => x >= one.x && x < one.x + one.width && y >= one.y && y < one.y + one.height);
      if (pane && !this.options.together && this.motions.length > 1) this.solo(pane.figures[0].motion.index);
    });
    this.canvas.addEventListener("pointerdown", () => this.openSheet(null));
    if (embed) this.orbit.zoomOnlyWhenUsed();
  }
}
