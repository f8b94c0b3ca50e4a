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

// Escape ends the work, as "Stop" does; in the list of models it closes that list.
window.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.target.closest("#model")) document.querySelector("#stop")?.click();
});
