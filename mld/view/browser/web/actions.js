// Everything a reader can do, once: buttons, keys and the help sheet are made from this table.

import { byId, element } from "viewer/dom.js";
import { icon } from "viewer/icons.js";

/** [{ id, keys, label, run, icon, bar, isOn, when }]. bar: where its button is; isOn: for what can be on or off. */
export function actionsOf(viewer) {
  const { player, options } = viewer;
  const several = viewer.motions.length > 1;
  const flip = (name) => ({ run: () => viewer.set(name, !options[name]), isOn: () => options[name] });
  return [
    { id: "list", keys: ["m"], label: "List of motions", icon: "list", bar: "toolbar", when: several, ...flip("list") },
    { id: "side", label: "Side by side", icon: "side", bar: "toolbar", when: several, run: () => viewer.set("together", false), isOn: () => !options.together },
    { id: "over", label: "On one floor", icon: "over", bar: "toolbar", when: several, run: () => viewer.set("together", true), isOn: () => options.together },
    { id: "layout", keys: ["v"], label: "Side by side / on one floor", when: several, run: () => viewer.set("together", !options.together) },
    { id: "follow", keys: ["f"], label: "Camera follows", icon: "follow", bar: "toolbar", ...flip("follow") },
    { id: "reset", keys: ["r"], label: "Camera back to the start", icon: "reset", bar: "toolbar", run: () => viewer.resetCamera() },
    { id: "trail", keys: ["t"], label: "Path of the root", icon: "trail", bar: "toolbar", ...flip("trail") },
    { id: "contacts", keys: ["c"], label: "Foot contacts", icon: "feet", bar: "toolbar", ...flip("contacts") },
    { id: "colours", keys: ["p"], label: "Colours by limb / by motion", icon: "colours", bar: "toolbar", when: several, run: () => viewer.set("byMotion", !viewer.byMotion), isOn: () => viewer.byMotion },
    { id: "picture", keys: ["s"], label: "Save a picture", icon: "picture", bar: "toolbar", run: () => viewer.savePicture() },
    { id: "downloads", keys: ["d"], label: "Download", icon: "download", bar: "toolbar", run: () => viewer.openSheet("downloads"), isOn: () => !byId("downloads").hidden },
    { id: "theme", keys: ["n"], label: "Light / dark", icon: "theme", bar: "toolbar", run: () => viewer.theme.toggle() },
    { id: "help", keys: ["?", "h"], label: "Keys", icon: "help", bar: "toolbar", run: () => viewer.openSheet("help"), isOn: () => !byId("help").hidden },
    { id: "play", keys: [" ", "k"], label: "Play / pause", icon: () => (player.playing ? "pause" : "play"), bar: "transport", run: () => player.toggle() },
    { id: "back", keys: ["ArrowLeft", ","], label: "One frame back", icon: "back", bar: "transport", run: () => viewer.step(-1) },
    { id: "next", keys: ["ArrowRight", "."], label: "One frame on", icon: "next", bar: "transport", run: () => viewer.step(1) },
    { id: "back1", keys: ["Shift+ArrowLeft", "j"], label: "One second back", run: () => player.seek(player.time - 1) },
    { id: "next1", keys: ["Shift+ArrowRight", "l"], label: "One second on", run: () => player.seek(player.time + 1) },
    { id: "start", keys: ["Home"], label: "To the start", run: () => player.seek(0) },
    { id: "end", keys: ["End"], label: "To the end", run: () => player.seek(player.duration) },
    { id: "slower", keys: ["ArrowDown", "-"], label: "Slower", run: () => player.changeSpeed(-1) },
    { id: "faster", keys: ["ArrowUp", "+"], label: "Faster", run: () => player.changeSpeed(1) },
    { id: "loop", keys: ["o"], label: "Loop", icon: "loop", bar: "transport", run: () => player.setLoop(!player.loop), isOn: () => player.loop },
    { id: "before", keys: ["["], label: "Motions before these", when: several, run: () => viewer.turnPage(-1) },
    { id: "after", keys: ["]"], label: "Motions after these", when: several, run: () => viewer.turnPage(1) },
    { id: "number", keys: several ? [..."123456789"] : [], shown: "1–9", label: "Show or hide a motion", when: several, run: (key) => viewer.toggleMotion(Number(key) - 1) },
    { id: "close", keys: ["Escape"], label: "Close", run: () => viewer.openSheet(null) },
  ].filter(({ when = true }) => when);
}

/** Buttons of the bars; call `refresh` of what comes back when something changed. */
export function makeButtons(actions) {
  const made = actions.filter(({ bar }) => bar).map((action) => {
    const title = action.keys ? `${action.label} (${keyName(action.keys[0])})` : action.label;
    const button = element("button", { type: "button", className: "tool", title, ariaLabel: action.label, });
    button.dataset.action = action.id;
    button.addEventListener("click", () => action.run());
    byId(action.bar).append(button);
    return [button, action];
  });
  return () => made.forEach(([button, action]) => {
    const name = typeof action.icon === "function" ? action.icon() : action.icon;
    if (button.dataset.icon !== name) button.innerHTML = icon(name);
    button.dataset.icon = name;
    if (action.isOn) button.ariaPressed = String(Boolean(action.isOn()));
  });
}

/** Keys work wherever the focus is, except in a field and with Ctrl, Alt or Meta. */
export function bindKeys(actions) {
  const byKey = new Map(actions.flatMap((action) => (action.keys ?? []).map((key) => [key, action])));
  window.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input, textarea")) return;
    if (event.target.closest("button") && ["Enter", " "].includes(event.key)) return; // it presses the button
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const action = byKey.get(event.shiftKey && key.length > 1 ? `Shift+${key}` : key);
    if (!action) return;
    event.preventDefault();
    action.run(key);
  });
}

export function helpSheet(sheet, actions) {
  const rows = actions.filter(({ keys }) => keys?.length).flatMap(({ keys, shown, label }) => [
    element("dt", {}, (shown ? [shown] : keys.slice(0, 2)).map((key) => element("kbd", { textContent: keyName(key) }))),
    element("dd", { textContent: label }),
  ]);
  const mouse = "Drag to turn, wheel or pinch to zoom, right button or two fingers to move; double click to show one motion alone.";
  sheet.replaceChildren(element("h2", { textContent: "Keys" }), element("dl", {}, rows), element("p", { textContent: mouse }));
}

function keyName(key) {
  const names = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
  const parts = key === "+" ? [key] : key.split("+");
  return parts.map((part) => names[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join(" ");
}
