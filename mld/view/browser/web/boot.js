// Turns the module texts of this page into modules: unpack, give each a blob address, name them in an import map, start.
// Needs what every browser has since 2023: import maps and DecompressionStream.
(async () => {
  async function unpack(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
  }

  function complain(message) {
    const problem = document.getElementById("problem");
    problem.textContent = message;
    problem.hidden = false;
  }

  window.mldUnpack = async (text) => (await unpack(text)).arrayBuffer();
  window.mldComplain = complain;
  if (!window.DecompressionStream || !HTMLScriptElement.supports?.("importmap")) {
    complain("This browser is too old for the viewer: it needs one from 2023 or later.");
    return;
  }
  try {
    const imports = {};
    for (const element of document.querySelectorAll("script.module")) {
      const text = element.textContent;
      const source = "packed" in element.dataset ? await (await unpack(text)).text() : text;
      imports[element.dataset.name] = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    }
    const map = document.createElement("script");
    map.type = "importmap";
    map.textContent = JSON.stringify({ imports });
    document.head.append(map);
    const { start } = await import(document.documentElement.dataset.start ?? "viewer/main.js");
    await start();
  } catch (error) {
    console.error(error);
    complain(`The viewer could not start: ${error.message}`);
  }
})();
