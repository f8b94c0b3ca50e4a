// Colours of the 3D scene by theme; those of the page are in style.css.

const LIMBS = { rightLeg: "#ea6259", leftLeg: "#4d84ea", rightArm: "#f3ab45", leftArm: "#2fb9ca" };

const SCENES = {
  light: {
    ...LIMBS, torso: "#aab2c0", visor: "#3a4252", ground: "#dcdcd6", line: "#8d929c", sky: "#ffffff", earth: "#cfc9bd",
    key: 1.35, fill: 2.0, shadow: 0.26, trail: "#555d6d",
  },
  dark: {
    ...LIMBS, torso: "#c3cad6", visor: "#2a303c", ground: "#222630", line: "#5a6273", sky: "#e2e8f6", earth: "#4b4a50",
    key: 1.7, fill: 2.0, shadow: 0.55, trail: "#aab2c2",
  },
};

/** One colour for each motion, where several share a floor. */
export const MOTIONS = ["#5b6ee8", "#e8685b", "#1fa79a", "#dd9c1c", "#9a5bd6", "#3a9fdc", "#d8568f", "#5aa845"];

export const colourOf = (index) => MOTIONS[index % MOTIONS.length];

export class Theme extends EventTarget {
  #system = matchMedia("(prefers-color-scheme: dark)");

  constructor(wanted) {
    super();
    this.wanted = wanted; // auto, light or dark
    this.#system.addEventListener("change", () => this.set(this.wanted));
    this.set(wanted);
  }

  get name() {
    if (this.wanted !== "auto") return this.wanted;
    return this.#system.matches ? "dark" : "light";
  }

  get scene() {
    return SCENES[this.name];
  }

  set(wanted) {
    this.wanted = wanted;
    document.documentElement.dataset.theme = this.name;
    this.dispatchEvent(new Event("change"));
  }

  toggle() {
    this.set(this.name === "dark" ? "light" : "dark");
  }
}
