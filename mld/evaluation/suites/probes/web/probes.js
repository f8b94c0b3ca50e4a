// Groups of prompts; the prompts of the group that is chosen; what the samples of the prompt that is chosen do not do.
(() => {
  const { groups, notes } = JSON.parse(document.getElementById("content").textContent);
  const frame = document.getElementById("viewer");
  const words = new Intl.PluralRules("en");

  function element(name, text = "", children = [], kind = "") {
    const made = document.createElement(name);
    made.textContent = text;
    made.append(...children);
    if (kind) made.className = kind;
    return made;
  }

  function mark(sample) {
    return element("b", sample.passed ? "✓" : "✗", [], sample.passed ? "pass" : "fail");
  }

  function passed(prompt) {
    return prompt.samples.filter((sample) => sample.passed).length;
  }

  // Page: groups on the left, their prompts below, motions on the right.
  const left = element("div", "", [], "left");
  const numbers = document.getElementById("numbers");
  numbers.replaceWith(left);
  const list = element("section", "", [element("h2"), element("ol")]);
  list.id = "prompts";
  left.append(numbers, list);
  const samples = element("ul");
  samples.id = "samples";
  document.getElementById("chosen").append(samples);

  function groupLine(group, index) {
    const button = element("button", group.name);
    button.type = "button";
    const head = element("th", "", [button]);
    head.scope = "row";
    const fill = element("i");
    fill.style.width = `${group.share ?? 0}%`;
    const cells = [
      element("td", "", [element("span", "", [fill], "bar")], "wide"),
      element("td", group.percent, group.interval ? [element("small", group.interval)] : []),
      element("td", String(group.prompts.length)),
    ];
    const line = element("tr", "", [head, ...cells]);
    line.addEventListener("click", () => chooseGroup(index));
    return line;
  }

  function promptLine(prompt, index) {
    const marks = element("span", "", prompt.samples.map(mark), "marks");
    marks.setAttribute("role", "img");
    marks.ariaLabel = `${passed(prompt)} of ${prompt.samples.length} pass`;
    const button = element("button", "", [element("span", prompt.prompt), marks]);
    button.type = "button";
    const line = element("li", "", [button]);
    button.addEventListener("click", () => {
      choosePrompt(index);
      const clips = document.getElementById("clips");
      if (clips.getBoundingClientRect().top > innerHeight * 0.7) clips.scrollIntoView({ block: "start" });
    });
    return line;
  }

  function sampleLine(sample, number) {
    const said = sample.passed ? "does what is said" : sample.reasons.join("; ");
    const place = element("small", ` (sample ${number})`);
    return element("li", "", [mark(sample), element("span", said, [place])]);
  }

  /** The viewer of the frame, when it has started. */
  async function viewer() {
    while (!frame.contentWindow?.mldViewer) await new Promise((done) => setTimeout(done, 60));
    return frame.contentWindow.mldViewer;
  }

  let group = groups[0];
  function chooseGroup(index) {
    group = groups[index];
    select("tbody tr", index);
    list.querySelector("h2").textContent = `Prompts: ${group.name}`;
    list.querySelector("ol").replaceChildren(...group.prompts.map(promptLine));
    const failing = group.prompts.findIndex((prompt) => prompt.samples.some((sample) => sample.place !== null));
    choosePrompt(Math.max(0, failing));
  }

  let chosen = null;
  async function choosePrompt(index) {
    const prompt = (chosen = group.prompts[index]);
    select("#prompts li", index);
    const count = prompt.samples.length;
    document.querySelector("#chosen h2").textContent = `“${prompt.prompt}”`;
    const noun = words.select(count) === "one" ? "sample does" : "samples do";
    document.querySelector("#chosen p").textContent = `${passed(prompt)} of ${count} ${noun} what is said`;
    samples.replaceChildren(...prompt.samples.map(sampleLine));
    const places = prompt.samples.map((sample) => sample.place).filter((place) => place !== null);
    frame.hidden = !places.length;
    const nothing = document.getElementById("nothing");
    nothing.hidden = Boolean(places.length);
    nothing.textContent = prompt.samples.every((sample) => sample.passed)
      ? "No motion of this prompt fails."
      : "The failing motions of this prompt are not on this page; see the folder of motions.";
    if (!places.length) return;
    const shown = await viewer();
    if (chosen !== prompt) return;
    shown.show(places);
    shown.seek(0);
  }

  function select(selector, index) {
    document.querySelectorAll(selector).forEach((line, place) => {
      line.classList.toggle("on", place === index);
      line.querySelector("button").ariaPressed = String(place === index);
    });
  }

  const heads = [["", ""], ["do what is said", "wide"], ["", ""], ["prompts", ""]];
  document.querySelector("thead").append(element("tr", "", heads.map(([name, kind]) => element("th", name, [], kind))));
  document.querySelector("tbody").append(...groups.map(groupLine));
  document.querySelector("footer").append(...notes.map((note) => element("p", note)));
  chooseGroup(0);
})();
