// The floor: a grid that fades into the distance around the figure, and the figure's shadow on it.

import * as THREE from "three";

const SIZE = 60; // metres

const VERTEX = `
varying vec2 ground;
void main() {
  vec4 world = modelMatrix * vec4(position, 1.0);
  ground = world.xz;
  gl_Position = projectionMatrix * viewMatrix * world;
}`;

const FRAGMENT = `
uniform vec3 line;
uniform vec3 ground_colour;
uniform vec2 centre;
uniform float reach;
varying vec2 ground;
float grid(float step) {
  vec2 at = ground / step;
  vec2 wide = fwidth(at);
  vec2 edge = (1.0 - min(abs(fract(at - 0.5) - 0.5) / wide, 1.0)) * (1.0 - smoothstep(0.12, 0.5, wide));
  return max(edge.x, edge.y);
}
void main() {
  float near = 1.0 - smoothstep(0.12, 1.0, length(ground - centre) / reach);
  float lines = max(grid(1.0) * 0.62, grid(0.5) * 0.2);
  vec4 colour = vec4(mix(ground_colour, line, lines), max(lines, 0.8) * near);
  gl_FragColor = linearToOutputTexel(colour);
}`;

export class Floor {
  constructor() {
    this.group = new THREE.Group();
    this.uniforms = {
      line: { value: new THREE.Color() }, ground_colour: { value: new THREE.Color() },
      centre: { value: new THREE.Vector2() }, reach: { value: 8 },
    };
    const plane = new THREE.PlaneGeometry(SIZE, SIZE).rotateX(-Math.PI / 2);
    this.grid = new THREE.Mesh(plane, new THREE.ShaderMaterial({
      uniforms: this.uniforms, vertexShader: VERTEX, fragmentShader: FRAGMENT, transparent: true, depthWrite: false,
    }));
    this.grid.renderOrder = -3;
    this.shadow = new THREE.Mesh(plane, new THREE.ShadowMaterial({ transparent: true, depthWrite: false }));
    this.shadow.receiveShadow = true;
    this.shadow.renderOrder = -2;
    this.group.add(this.grid, this.shadow);
  }

  paint(scene) {
    this.uniforms.line.value.set(scene.line);
    this.uniforms.ground_colour.value.set(scene.ground);
    this.shadow.material.opacity = scene.shadow;
  }

  /** Around a point, at a height, seen from `distance` metres. */
  place({ x, z }, height, distance) {
    this.group.position.set(x, height, z);
    this.uniforms.centre.value.set(x, z);
    this.uniforms.reach.value = Math.min(SIZE / 2, 2.2 + 1.15 * distance);
  }
}
