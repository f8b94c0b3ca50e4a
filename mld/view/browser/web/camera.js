// One orbit for all panes. It turns about a place on the floor: where the figure is (follow), or where it was left.

import * as THREE from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";

const TARGET = new THREE.Vector3(0, 0.88, 0); // metres above the place
const DISTANCE = 4.5;
const SIDEWAYS = 0.62; // rad from the front
const ABOVE = 0.2; // rad
const NARROW = 0.72; // width / height below which the camera steps back

export class Orbit {
  constructor(canvas, facing, onChange) {
    this.facing = facing;
    this.follow = true;
    this.left = new Map(); // pane's key -> place that the camera stays at
    this.rig = new THREE.PerspectiveCamera();
    this.controls = new OrbitControls(this.rig, canvas);
    Object.assign(this.controls, {
      enableDamping: true, dampingFactor: 0.12, minDistance: 0.8, maxDistance: 40, maxPolarAngle: Math.PI / 2 - 0.01,
      zoomSpeed: 0.8,
    });
    this.controls.addEventListener("change", onChange);
    this.reset();
  }

  reset() {
    const yaw = this.facing + SIDEWAYS;
    this.controls.target.copy(TARGET);
    this.rig.position.setFromSphericalCoords(DISTANCE, Math.PI / 2 - ABOVE, yaw).add(TARGET);
    this.left.clear();
    this.controls.update();
  }

  setFollow(follow) {
    this.follow = follow;
    this.left.clear();
  }

  /** Inside another page the wheel belongs to that page, until the figure was touched; it gets it back afterwards. */
  zoomOnlyWhenUsed() {
    const canvas = this.controls.domElement;
    this.controls.enableZoom = false;
    canvas.addEventListener("pointerdown", () => { this.controls.enableZoom = true; });
    canvas.addEventListener("pointerleave", () => { this.controls.enableZoom = false; });
  }

  /** True while the camera still glides. */
  update() {
    return this.controls.update();
  }

  /** Aim `camera` at the figures of a pane: { centre, reach, distance }, metres. */
  aim(camera, { key, figures }, time) {
    const places = figures.map((figure) => figure.place(time));
    const now = [0, 1].map((axis) => places.reduce((sum, place) => sum + place[axis], 0) / places.length);
    if (!this.left.has(key) || this.follow) this.left.set(key, now);
    const [x, z] = this.left.get(key);
    const reach = Math.max(...places.map((place) => Math.hypot(place[0] - now[0], place[1] - now[1])));
    const back = Math.max(1, NARROW / camera.aspect) * (1 + (0.75 * reach) / Math.max(1, camera.aspect));
    const centre = new THREE.Vector3(x, Math.min(...figures.map((figure) => figure.height)), z);
    camera.position.copy(this.rig.position).sub(this.controls.target).multiplyScalar(back).add(this.controls.target).add(centre);
    camera.lookAt(this.controls.target.clone().add(centre));
    camera.updateMatrixWorld();
    const distance = camera.position.distanceTo(centre);
    return { centre: new THREE.Vector3(now[0], centre.y, now[1]), reach, distance };
  }
}
