// Starts the page. `window.mldViewer` is what scripts and tests hold on to.

import { load } from "viewer/data.js";
import { byId } from "viewer/dom.js";
import { hookOf } from "viewer/hook.js";
import { Viewer } from "viewer/viewer.js";

export async function start() {
  const page = await load();
  document.documentElement.classList.toggle("embed", page.embed);
  byId("title").textContent = page.title;
  const viewer = new Viewer(page);
  window.mldViewer = hookOf(viewer);
  if (!matchMedia("(prefers-reduced-motion: reduce)").matches) viewer.player.play();
}
