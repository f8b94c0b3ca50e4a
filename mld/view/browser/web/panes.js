// Where the panes are on the stage, and what is written on them.

import { element } from "viewer/dom.js";
import { colourOf } from "viewer/theme.js";

const FIGURE = 0.16; // half of the usual width of a figure, of the height of a pane
const MOST_WORDS = 0.3; // of the height of a pane; higher captions lie over the figure

/** Columns and rows for `count` panes, so that each is as large as it can be for an upright figure. */
export function grid(count, width, height) {
  let best = [1, count];
  let size = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const rows = Math.ceil(count / columns);
    const room = Math.min((width / columns) / 0.95, height / rows);
    if (room > size + 1) [size, best] = [room, [columns, rows]];
  }
  return best;
}

/** The most panes at once on a stage of this size. */
export function mostPanes(width, height) {
  return Math.max(2, Math.min(9, Math.floor(width / 260) * Math.max(1, Math.floor(height / 250))));
}

/** One pane for all figures, or one for each: [{ key, x, y, width, height, top, figures }]. */
export function layOut(figures, together, width, height) {
  const groups = together ? [figures] : figures.map((figure) => [figure]);
  const [columns, rows] = grid(groups.length, width, height);
  const [wide, high] = [width / columns, height / rows];
  return groups.map((group, index) => ({
    key: together ? "all" : group[0].motion.index,
    x: (index % columns) * wide, y: Math.floor(index / columns) * high, width: wide, height: high, top: 0,
    figures: group,
  }));
}

/** Write captions onto panes, and note how much of each they take. several: the page has more than one motion. */
export function label(container, panes, { several, active, framed }) {
  container.replaceChildren(...panes.map((pane) => {
    const captions = pane.figures.map(({ motion }) => captionOf(motion, { several, active: several && motion.index === active }));
    const box = element("section", { className: framed ? "pane framed" : "pane" }, captions);
    Object.assign(box.style, { left: `${pane.x}px`, top: `${pane.y}px`, width: `${pane.width}px`, height: `${pane.height}px` });
    return box;
  }));
  panes.forEach((pane, index) => {
    const captions = [...container.children[index].children];
    const middle = pane.width / 2 - FIGURE * pane.height;
    const inTheWay = captions.filter((caption) => caption.offsetLeft + caption.offsetWidth > middle);
    const bottoms = inTheWay.map((caption) => caption.offsetTop + caption.offsetHeight);
    pane.top = Math.min(Math.max(0, ...bottoms), MOST_WORDS * pane.height);
  });
}

function captionOf(motion, { several, active }) {
  const dot = element("i", { className: "dot" });
  dot.style.background = colourOf(motion.index);
  const parts = several ? [dot] : [];
  if (motion.label) parts.push(element("b", { textContent: motion.label }));
  if (motion.caption) parts.push(element("span", { textContent: motion.caption }));
  if (!motion.label && !motion.caption) parts.push(element("span", { textContent: motion.name }));
  const caption = element("button", { className: active ? "caption active" : "caption", type: "button", title: "Show on the time line" }, [
    element("span", { className: "words" }, parts),
    element("small", { textContent: motion.facts }),
  ]);
  caption.dataset.motion = motion.index;
  return caption;
}
