// The page is as high as what is seen of it: less where a keyboard lies on the screen, all of it where it is only enlarged.
const seen = window.visualViewport;

function fit() {
  document.documentElement.style.setProperty("--seen", `${Math.round(seen.height * seen.scale)}px`);
  if (seen.scale === 1) window.scrollTo(0, 0);
}

seen.addEventListener("resize", fit);
fit();

// A row of tasks that is wider than the page shows the one that was chosen, by finger, key or program.
document.addEventListener("change", (event) => {
  if (event.target.closest("#task")) event.target.closest("label").scrollIntoView({ block: "nearest", inline: "center" });
});

// Files that were chosen, by box, until their names are in it. What is asked meanwhile must not take another motion.
const awaited = new Map();

function choose(event) {
  const files = event.dataTransfer?.files ?? event.target.files;
  const box = event.target.closest(".clip");
  if (box && files?.length) awaited.set(box.id, files[0].name);
}

function arrived(id) {
  const box = document.getElementById(id);
  const stem = awaited.get(id).replace(/\.[^.]*$/, "");
  return !!box?.querySelector("table")?.textContent.includes(stem); // a bar names what is still on its way
}

window.mldAwaited = () => {
  tell("");
  for (const id of awaited.keys()) {
    if (!document.getElementById(id)?.offsetParent || arrived(id)) awaited.delete(id);
  }
  return [...awaited.values()][0] ?? "";
};
document.addEventListener("change", choose, true);
document.addEventListener("drop", choose, true);

// gradio holds back what is asked until all files have arrived, those of other tasks, too, and calls `mldAwaited` then.
// Here that is said; what is pressed again meanwhile would be asked once more.
const ASKS = "#send, #ideas button";
let told = false;

function tell(words) {
  told = words !== "";
  const place = document.querySelector("#wait p");
  if (place) place.textContent = words;
}

function hold(event) {
  if (event.type === "keydown" ? event.key !== "Enter" || event.shiftKey || !event.target.closest("#text")
                               : !event.target.closest(ASKS)) return;
  if (told) {
    event.preventDefault();
    event.stopImmediatePropagation();
    return;
  }
  const name = [...awaited].find(([id]) => !arrived(id))?.[1];
  if (name) tell(`${name.length > 40 ? `${name.slice(0, 39)}…` : name} is on its way. What you ask is done when it is here.`);
}

window.addEventListener("click", hold, true);
window.addEventListener("keydown", hold, true);
document.addEventListener("change", (event) => event.target.closest(".clip, #task") && tell(""), true);

// Escape ends the work, as "Stop" does; in the list of models it closes that list.
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.target.closest("#model")) document.querySelector("#stop")?.click();
});
