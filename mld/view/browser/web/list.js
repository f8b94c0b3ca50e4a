// The list of motions beside the stage: which are shown, and pages where there are too many to show at once.

import { element } from "viewer/dom.js";
import { colourOf } from "viewer/theme.js";

/** Fill the list. viewer: `Viewer`. */
export function fillList(list, viewer) {
  const rows = viewer.motions.map((motion) => row(motion, viewer));
  const children = [element("ol", {}, rows)];
  if (viewer.pages > 1) {
    const [first, last] = [Math.min(...viewer.shown) + 1, Math.max(...viewer.shown) + 1];
    children.push(element("nav", {}, [
      pageButton("‹", "Motions before these", () => viewer.turnPage(-1)),
      element("span", { textContent: `${first === last ? first : `${first}–${last}`} of ${viewer.motions.length}` }),
      pageButton("›", "Motions after these", () => viewer.turnPage(1)),
    ]));
  }
  const scrolled = list.querySelector("ol")?.scrollTop ?? 0;
  list.replaceChildren(...children);
  list.querySelector("ol").scrollTop = scrolled;
}

function row(motion, viewer) {
  const shown = viewer.shown.includes(motion.index);
  const dot = element("i", { className: "dot" });
  dot.style.setProperty("--colour", colourOf(motion.index));
  const words = element("span", { className: "words" }, [
    ...(motion.label ? [element("b", { textContent: motion.label })] : []),
    element("span", { textContent: motion.caption || (motion.label ? "" : motion.name) }),
    element("small", { textContent: motion.facts }),
  ]);
  const button = element("button", { type: "button", ariaPressed: String(shown) }, [dot, words]);
  if (motion.index === viewer.active) button.classList.add("active");
  button.addEventListener("click", () => viewer.toggleMotion(motion.index));
  return element("li", {}, [button]);
}

function pageButton(text, title, run) {
  const button = element("button", { type: "button", textContent: text, title, ariaLabel: title });
  button.addEventListener("click", run);
  return button;
}
