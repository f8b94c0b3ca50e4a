// The scene and how it is drawn: lights, floor, and one picture per pane, of its own figures only.

import * as THREE from "three";
import { Floor } from "viewer/floor.js";

const LIGHT = { distance: 6, above: 0.98, sideways: -0.25 }; // metres, rad, rad from the front of the first figure
const SHADOW_REACH = 1.7; // metres around it

export class Stage {
  /** facing: where the front of the scene is, rad. */
  constructor(canvas, facing) {
    this.fromKey = new THREE.Vector3().setFromSphericalCoords(LIGHT.distance, Math.PI / 2 - LIGHT.above, facing + LIGHT.sideways);
    this.fromRim = new THREE.Vector3().setFromSphericalCoords(5, Math.PI / 3, facing + Math.PI - 0.4);
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.autoClear = false;
    this.renderer.setClearColor("#000000", 0); // until it is told, three clears the first picture to opaque black
    this.renderer.toneMapping = THREE.NoToneMapping;
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = THREE.PCFShadowMap;
    this.camera = new THREE.PerspectiveCamera(30, 1, 0.1, 200);
    this.scene = new THREE.Scene();
    this.floor = new Floor();
    this.hemisphere = new THREE.HemisphereLight();
    this.key = keyLight();
    this.rim = new THREE.DirectionalLight("#dfe8ff", 0.5);
    this.scene.add(this.floor.group, this.hemisphere, this.key, this.key.target, this.rim, this.rim.target);
    this.figures = [];
  }

  add(figure) {
    this.figures.push(figure);
    this.scene.add(figure.group);
  }

  paint(scene) {
    this.hemisphere.color.set(scene.sky);
    this.hemisphere.groundColor.set(scene.earth);
    this.hemisphere.intensity = scene.fill;
    this.key.intensity = scene.key;
    this.floor.paint(scene);
  }

  resize(width, height) {
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.height = height;
  }

  /** panes: [{ x, y, width, height, top, figures }] in pixels, y down, `top` of them taken by words; view(camera, pane) aims the camera. */
  render(panes, view) {
    const { renderer } = this;
    renderer.setScissorTest(false);
    renderer.clear();
    renderer.setScissorTest(true);
    for (const pane of panes) {
      const bottom = this.height - pane.y - pane.height;
      renderer.setViewport(pane.x, bottom, pane.width, pane.height);
      renderer.setScissor(pane.x, bottom, pane.width, pane.height);
      for (const figure of this.figures) figure.group.visible = pane.figures.includes(figure);
      const free = pane.height - pane.top;
      this.camera.aspect = pane.width / free;
      this.camera.setViewOffset(pane.width, free, 0, -pane.top, pane.width, pane.height); // the figure below the caption
      const { centre, reach, distance } = view(this.camera, pane);
      this.floor.place(centre, centre.y, distance);
      this.#aimLights(centre, reach);
      renderer.render(this.scene, this.camera);
    }
  }

  #aimLights(centre, reach) {
    this.key.position.copy(centre).add(this.fromKey);
    this.key.target.position.copy(centre);
    this.rim.position.copy(centre).add(this.fromRim);
    this.rim.target.position.copy(centre);
    const side = SHADOW_REACH + reach;
    const { camera } = this.key.shadow;
    Object.assign(camera, { left: -side, right: side, top: side, bottom: -side });
    camera.updateProjectionMatrix();
  }
}

function keyLight() {
  const light = new THREE.DirectionalLight("#fff6ea", 2);
  light.castShadow = true;
  light.shadow.mapSize.set(1024, 1024);
  light.shadow.radius = 3.5;
  light.shadow.bias = -0.0004;
  light.shadow.normalBias = 0.03;
  light.shadow.camera.near = 0.5;
  light.shadow.camera.far = 14;
  return light;
}
