// The sheet with a button per motion and format. NPY is made here, from the joints; other files come with the page.

import { unpacked } from "viewer/data.js";
import { element, save } from "viewer/dom.js";

/** A NumPy file (format 1.0) with the joints (frames, joints, 3) float32: Uint8Array. */
export function npy(motion) {
  const shape = `(${motion.frames}, ${motion.count}, 3)`;
  const words = `{'descr': '<f4', 'fortran_order': False, 'shape': ${shape}, }`;
  const header = words.padEnd(Math.ceil((words.length + 11) / 64) * 64 - 11) + "\n";
  const start = [0x93, ..."NUMPY"].map((sign) => (typeof sign === "number" ? sign : sign.charCodeAt(0)));
  const bytes = new Uint8Array(10 + header.length + motion.joints.byteLength);
  bytes.set([...start, 1, 0, header.length & 255, header.length >> 8]);
  bytes.set(new TextEncoder().encode(header), 10);
  bytes.set(new Uint8Array(motion.joints.buffer), 10 + header.length);
  return bytes;
}

/** Fill the sheet. */
export function downloadSheet(sheet, motions) {
  const rows = motions.map((motion) => element("li", {}, [
    element("span", { textContent: motion.label ? `${motion.label}: ${motion.name}` : motion.name }),
    element("div", { className: "files" }, [
      fileButton(`${motion.stem}.npy`, motion.joints.byteLength, async () => npy(motion)),
      ...motion.downloads.map(({ name, bytes, data }) => fileButton(name, bytes, () => unpacked(data))),
    ]),
  ]));
  sheet.replaceChildren(element("h2", { textContent: "Download" }), element("ul", {}, rows));
}

function fileButton(name, bytes, make) {
  const kind = name.slice(name.lastIndexOf(".") + 1).toUpperCase();
  const size = bytes < 1e6 ? `${Math.ceil(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
  const button = element("button", { type: "button", title: name }, [kind, element("small", { textContent: size })]);
  button.dataset.file = name;
  button.addEventListener("click", async () => save(name, await make()));
  return button;
}
