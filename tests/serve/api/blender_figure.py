"""Runs inside Blender: follows a stream with the client script, then prints where the bones of its armature are.

    blender --background --python blender_figure.py -- SCRIPT HOST PORT WORDS FRAMES
    python blender_figure.py -- SCRIPT HOST PORT WORDS FRAMES         a Python that has Blender as the module `bpy`

Without a window Blender calls no timers, so they are called here; all else is Blender's own.
"""

import importlib.util
import json
import sys
import time
from types import SimpleNamespace

import bpy

script, host, port, words, frames = sys.argv[sys.argv.index("--") + 1 :]
spec = importlib.util.spec_from_file_location("blender_stream", script)
client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client)
client.KEYS = True
client.Stream.__init__.__defaults__ = (host, int(port), "")

timers: list = []
app = SimpleNamespace(timers=SimpleNamespace(register=timers.append))
stream = client.run(SimpleNamespace(data=bpy.data, context=bpy.context, ops=bpy.ops, app=app), words)
armature, until = bpy.data.objects["Motion"], time.monotonic() + 90


def keyed() -> float:
    action = armature.animation_data and armature.animation_data.action
    return action.frame_range[1] if action else 0


while keyed() < int(frames):
    if time.monotonic() > until or stream.problem:
        sys.exit(f"only {keyed()} frames came: {stream.problem}")
    timers[0]()
    time.sleep(0.005)
stream.stop()

heads = []
for frame in range(1, int(frames) + 1):
    bpy.context.scene.frame_set(frame)
    pose = armature.evaluated_get(bpy.context.evaluated_depsgraph_get()).pose.bones
    heads.append([list(armature.matrix_world @ pose[name].head) for name in stream.about["joints"]])
print("FIGURE " + json.dumps({"heads": heads, "version": bpy.app.version_string, "bones": len(armature.pose.bones)}))
