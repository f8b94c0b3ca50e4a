// `window.mldViewer`: what scripts outside may ask and do. Kept stable.

import { npy } from "viewer/downloads.js";

export function hookOf(viewer) {
  const { player, motions, options, theme } = viewer;
  return {
    get time() { return player.time; },
    get duration() { return player.duration; },
    get playing() { return player.playing; },
    get frame() { return motions[viewer.active].frameAt(player.time); },
    get frames() { return motions[viewer.active].frames; },
    get figureCount() { return motions.length; },
    get shown() { return [...viewer.shown]; },
    get together() { return options.together; },
    get theme() { return theme.name; },
    get drawn() { return viewer.drawn; },
    play: () => player.play(),
    pause: () => player.pause(),
    seek: (seconds) => player.seek(seconds),
    seekFrame: (frame) => player.seek((frame + 0.01) / motions[viewer.active].fps),
    setSpeed: (speed) => player.setSpeed(speed),
    setTheme: (name) => theme.set(name),
    set: (option, value) => viewer.set(option, value),
    show: (indices) => viewer.show(indices),
    captions: () => motions.map(({ caption }) => caption),
    /** Joints of a frame: [[x, y, z], ...] in metres. */
    joints: (index, frame) => Array.from({ length: motions[index].count }, (_, joint) => motions[index].joint(frame, joint)),
    npy: (index) => npy(motions[index]),
    /** The picture of now, as a data address. */
    picture: () => viewer.picture().toDataURL(),
  };
}
