"""An armature in Blender that follows a stream of `mld serve`. Needs Blender's own Python, no other package.

In Blender: Scripting, open this file, change the settings below, run it. `say("now they sit down")` in its console
changes the words, `stop()` ends it. Frames become keys where KEYS is True.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import queue
import socket
import struct
import threading
import time

HOST, PORT, TOKEN = "127.0.0.1", 8700, ""
TEXT = "a person walks forward"
KEYS = False  # keep frames as keys of an action
HEADER = struct.Struct("<4sBBHIIHHf")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455
MOST = 2**24  # bytes of a message


class WebSocket:
    """As much of RFC 6455 as a stream needs."""

    def __init__(self, host: str, port: int, path: str, token: str = "", timeout: float = 30.0) -> None:
        self._socket = socket.create_connection((host, port), timeout)
        self._buffer, self._lock = b"", threading.Lock()
        key = base64.b64encode(os.urandom(16))
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}:{port}", "Upgrade: websocket", "Connection: Upgrade",
                 "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key.decode()}"]  # fmt: skip
        lines += [f"Authorization: Bearer {token}"] if token else []
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        if not head.startswith(b"HTTP/1.1 101") or accept not in head:
            raise ConnectionError(f"the server says: {head.splitlines()[0].decode()} {self._buffer.decode()}")

    def send(self, text: str) -> None:
        self._frame(1, text.encode())

    def receive(self) -> bytes | str:
        """The next message; `ConnectionError` when there is none any more."""
        whole, kind = b"", 0
        while True:
            first, second = self._read(2)
            length = second & 127
            if length > 125:
                length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
            if len(whole) + length > MOST:
                raise ConnectionError("the server sends too long a message")
            content, code = self._read(length), first & 15
            if code == 8:
                raise ConnectionError("the server closed the connection")
            if code == 9:
                self._frame(10, content)
            if code in (0, 1, 2):
                whole, kind = whole + content, code or kind
                if first & 128:
                    return whole.decode() if kind == 1 else whole

    def close(self) -> None:
        self._socket.close()

    def _frame(self, code: int, content: bytes) -> None:
        size, mask = len(content), os.urandom(4)
        head = bytes([128 | code, 128 | size]) if size < 126 else bytes([128 | code, 254]) + struct.pack(">H", size)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))
        with self._lock:
            self._socket.sendall(head + mask + masked)

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            self._more()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    def _more(self) -> None:
        part = self._socket.recv(65536)
        if not part:
            raise ConnectionError("the connection was lost")
        self._buffer += part


class Stream:
    """Frames of a stream, in a thread of its own. about: what the server says of it. frames: (number, root position,
    quaternions x y z w of all joints), as they come."""

    def __init__(self, text: str, host: str = HOST, port: int = PORT, token: str = TOKEN) -> None:
        self._socket = WebSocket(host, port, "/v1/stream", token)
        self._send(type="start", text=text, data="rotations")
        self.about = json.loads(self._socket.receive())
        if self.about["type"] != "started":
            raise ConnectionError(self.about["error"])
        self.frames: queue.Queue = queue.Queue()
        self.ends: dict[int, int] = {}  # last frame of a chunk -> its number
        self.problem = ""
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, text: str) -> None:
        self._send(type="say", text=text)

    def shown(self, frame: int) -> None:
        """A frame was shown; with the last one of a chunk the server is told."""
        if (number := self.ends.pop(frame, None)) is not None:
            self._send(type="ack", sequence=number)

    def stop(self) -> None:
        self._send(type="stop")
        self._socket.close()

    def _send(self, **message: object) -> None:
        self._socket.send(json.dumps(message))

    def _listen(self) -> None:
        try:
            while True:
                message = self._socket.receive()
                if isinstance(message, bytes):
                    self._take(message)
                elif (told := json.loads(message))["type"] in ("error", "ended"):
                    self.problem = told.get("error", "the stream has ended")
                    print(self.problem)
        except OSError as error:
            self.problem = str(error)

    def _take(self, message: bytes) -> None:
        _, _, _, _, sequence, first, count, joints, _ = HEADER.unpack_from(message)
        numbers = struct.unpack_from(f"<{count * (3 + 4 * joints)}f", message, HEADER.size)
        self.ends[first + count - 1] = sequence
        for i in range(count):
            row = numbers[i * (3 + 4 * joints) : (i + 1) * (3 + 4 * joints)]
            turns = [row[3 + 4 * joint : 7 + 4 * joint] for joint in range(joints)]
            self.frames.put((first + i, row[:3], turns))


def place(vector) -> tuple[float, float, float]:
    """From y up to Blender's z up."""
    x, y, z = vector
    return x, -z, y


def turn(quaternion) -> tuple[float, float, float, float]:
    """x y z w with y up -> w x y z with z up."""
    x, y, z, w = quaternion
    return w, x, -z, y


class Figure:
    """An armature whose bones all lie along +y, so that a pose is the rotations as they come."""

    def __init__(self, bpy, about: dict) -> None:
        self._names, offsets, parents = about["joints"], about["offsets"], about["parents"]
        data = bpy.data.armatures.new("Motion")
        self.object = bpy.data.objects.new("Motion", data)
        bpy.context.scene.collection.objects.link(self.object)
        bpy.context.view_layer.objects.active = self.object
        bpy.ops.object.mode_set(mode="EDIT")
        heads: list[tuple[float, ...]] = []
        for name, offset, parent in zip(self._names, offsets, parents):
            above = heads[parent] if parent >= 0 else (0.0, 0.0, 0.0)
            heads.append(tuple(a + b for a, b in zip(above, place(offset))))
            bone = data.edit_bones.new(name)
            bone.head, bone.tail = heads[-1], (heads[-1][0], heads[-1][1] + 0.06, heads[-1][2])
            bone.parent = data.edit_bones[self._names[parent]] if parent >= 0 else None
        bpy.ops.object.mode_set(mode="OBJECT")
        for bone in self.object.pose.bones:
            bone.rotation_mode = "QUATERNION"

    def pose(self, frame: int, root, turns, keys: bool) -> None:
        bones = self.object.pose.bones
        bones[self._names[0]].location = place(root)
        for name, quaternion in zip(self._names, turns):
            bones[name].rotation_quaternion = turn(quaternion)
        if keys:
            bones[self._names[0]].keyframe_insert("location", frame=frame + 1)
            for name in self._names:
                bones[name].keyframe_insert("rotation_quaternion", frame=frame + 1)


def run(bpy, text: str = TEXT) -> Stream:
    """Follow a stream with a figure, by a timer of Blender."""
    stream = Stream(text)
    figure, fps, began = Figure(bpy, stream.about), stream.about["fps"], time.monotonic() + 0.3

    def tick() -> float | None:
        now = (time.monotonic() - began) * fps
        while not stream.frames.empty() and stream.frames.queue[0][0] <= now:
            frame, root, turns = stream.frames.get()
            figure.pose(frame, root, turns, KEYS)
            stream.shown(frame)
        return None if stream.problem and stream.frames.empty() else 1 / fps

    bpy.app.timers.register(tick)
    return stream


if __name__ == "__main__":
    import bpy

    STREAM = run(bpy)
    say, stop = STREAM.say, STREAM.stop
