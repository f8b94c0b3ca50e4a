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

window.mldAwaited = () => {
  for (const [id, name] of awaited) {
    const box = document.getElementById(id);
    const stem = name.replace(/\.[^.]*$/, "");
    const there = box?.querySelector("table")?.textContent ?? ""; // a bar names what is still on its way
    if (!box?.offsetParent || there.includes(stem)) awaited.delete(id);
  }
  return [...awaited.values()][0] ?? "";
};
document.addEventListener("change", choose, true);
document.addEventListener("drop", choose, true);

// Escape ends the work, as "Stop" does; in the list of models it closes that list.
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.target.closest("#model")) document.querySelector("#stop")?.click();
});
