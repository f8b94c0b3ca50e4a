// A table of dimensions; the one that is chosen shows its worst and best clips in the viewer.
(() => {
  const { columns, rows, notes } = JSON.parse(document.getElementById("content").textContent);
  const frame = document.getElementById("viewer");

  function element(name, text = "", children = []) {
    const made = document.createElement(name);
    made.textContent = text;
    made.append(...children);
    return made;
  }

  function cell({ value, more }) {
    return element("td", value, more ? [element("small", more)] : []);
  }

  function line(row, index) {
    const button = element("button", row.title);
    button.type = "button";
    const head = element("th", "", [button, element("small", row.unit ? `${row.says}, ${row.unit}` : row.says)]);
    head.scope = "row";
    const made = element("tr", "", [head, ...row.cells.map(cell), element("td", row.coverage)]);
    made.addEventListener("click", () => {
      choose(index);
      const clips = document.getElementById("clips");
      if (clips.getBoundingClientRect().top > innerHeight * 0.7) clips.scrollIntoView({ block: "start" });
    });
    return made;
  }

  /** The viewer of the frame, when it has started. */
  async function viewer() {
    while (!frame.contentWindow?.mldViewer) await new Promise((done) => setTimeout(done, 60));
    return frame.contentWindow.mldViewer;
  }

  let chosen = 0;
  async function choose(index) {
    chosen = index;
    const row = rows[index];
    const clips = [...row.worst, ...row.best];
    document.querySelectorAll("tbody tr").forEach((line, place) => {
      line.classList.toggle("on", place === index);
      line.querySelector("button").ariaPressed = String(place === index);
    });
    document.querySelector("#chosen h2").textContent = `${row.title}: worst and best clips`;
    document.querySelector("#chosen p").textContent = row.says;
    frame.hidden = !clips.length;
    const nothing = document.getElementById("nothing");
    nothing.hidden = Boolean(clips.length);
    nothing.textContent = `No clip has a value here: ${row.reason || "none was scored"}.`;
    if (!clips.length) return;
    const shown = await viewer();
    if (chosen !== index) return;
    shown.show(clips);
    shown.seek(0);
  }

  document.querySelector("thead").append(element("tr", "", ["", ...columns, "prompts"].map((name) => element("th", name))));
  document.querySelector("tbody").append(...rows.map(line));
  document.querySelector("footer").append(...notes.map((note) => element("p", note)));
  const first = rows.findIndex((row) => row.worst.length);
  if (rows.length) choose(Math.max(0, first));
})();
