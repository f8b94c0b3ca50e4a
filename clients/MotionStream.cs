// A hierarchy of transforms in Unity that follows a stream of `mld serve`. Needs Unity's own libraries, no package.
// Put it on an empty GameObject, set the address, press play; Say("now they sit down") changes the words.
// mld is right-handed, Unity left-handed: x of positions and y, z of quaternions change their sign.

using System;
using System.Collections.Concurrent;
using System.Globalization;
using System.Linq;
using System.Net.WebSockets;
using System.Text;
using System.Text.RegularExpressions;
using System.Threading;
using System.Threading.Tasks;
using UnityEngine;

public class MotionStream : MonoBehaviour
{
    public string address = "ws://127.0.0.1:8700/v1/stream";
    public string token = "";
    public string text = "a person walks forward";

    [Serializable]
    private class Message
    {
        public string type = "", error = "", session = "";
        public float fps = 30;
        public string[] joints = { };
        public int[] parents = { };
    }

    private readonly ConcurrentQueue<string> told = new ConcurrentQueue<string>();
    private readonly ConcurrentQueue<MotionChunk> chunks = new ConcurrentQueue<MotionChunk>();
    private readonly SemaphoreSlim sending = new SemaphoreSlim(1);
    private readonly CancellationTokenSource ending = new CancellationTokenSource();
    private ClientWebSocket socket;
    private Transform[] bones;
    private MotionChunk now;
    private float clock = -0.3f; // seconds that are there before the figure moves
    private float fps = 30;

    public void Say(string words) => _ = Send("{\"type\":\"say\",\"text\":" + Quoted(words) + "}");

    private void Start() => _ = Run();

    private void OnDestroy()
    {
        ending.Cancel();
        socket?.Dispose();
    }

    private void Update()
    {
        while (told.TryDequeue(out var line)) Hear(line);
        if (bones == null) return;
        if (now == null && !chunks.TryDequeue(out now)) return; // nothing to show: the clock waits
        clock += Time.deltaTime;
        var frame = Mathf.FloorToInt(clock * fps);
        while (now != null && frame >= now.FirstFrame + now.Frames)
        {
            _ = Send("{\"type\":\"ack\",\"sequence\":" + now.Sequence + "}");
            if (chunks.TryDequeue(out now)) continue;
            now = null;
            clock = frame / fps;
        }
        if (now == null || frame < now.FirstFrame) return;
        var row = frame - now.FirstFrame;
        bones[0].localPosition = Place(now.Root(row));
        for (var joint = 0; joint < bones.Length; joint++) bones[joint].localRotation = Turn(now.Rotation(row, joint));
    }

    private void Hear(string line)
    {
        var message = JsonUtility.FromJson<Message>(line);
        if (message.error != "") Debug.LogWarning(message.error);
        if (message.type != "started") return;
        fps = message.fps;
        var offsets = MotionChunk.Offsets(line);
        bones = new Transform[message.joints.Length];
        for (var joint = 0; joint < bones.Length; joint++)
        {
            bones[joint] = new GameObject(message.joints[joint]).transform;
            bones[joint].SetParent(message.parents[joint] < 0 ? transform : bones[message.parents[joint]], false);
            bones[joint].localPosition = Place(offsets[joint]);
        }
    }

    private async Task Run()
    {
        try
        {
            socket = new ClientWebSocket();
            if (token != "") socket.Options.SetRequestHeader("Authorization", "Bearer " + token);
            await socket.ConnectAsync(new Uri(address), ending.Token);
            await Send("{\"type\":\"start\",\"data\":\"rotations\",\"text\":" + Quoted(text) + "}");
            var buffer = new byte[1 << 20];
            while (socket.State == WebSocketState.Open)
            {
                var size = 0;
                WebSocketReceiveResult part;
                do
                {
                    part = await socket.ReceiveAsync(new ArraySegment<byte>(buffer, size, buffer.Length - size), ending.Token);
                    size += part.Count;
                } while (!part.EndOfMessage && size < buffer.Length);
                if (part.MessageType == WebSocketMessageType.Close) break;
                if (part.MessageType == WebSocketMessageType.Text) told.Enqueue(Encoding.UTF8.GetString(buffer, 0, size));
                else chunks.Enqueue(new MotionChunk(buffer, size));
            }
        }
        catch (Exception error) when (!(error is OperationCanceledException))
        {
            told.Enqueue("{\"type\":\"error\",\"error\":" + Quoted(error.Message) + "}");
        }
    }

    private async Task Send(string message)
    {
        if (socket == null || socket.State != WebSocketState.Open) return;
        await sending.WaitAsync();
        try
        {
            var bytes = new ArraySegment<byte>(Encoding.UTF8.GetBytes(message));
            await socket.SendAsync(bytes, WebSocketMessageType.Text, true, ending.Token);
        }
        finally
        {
            sending.Release();
        }
    }

    private static Vector3 Place(float[] at) => new Vector3(-at[0], at[1], at[2]);

    private static Quaternion Turn(float[] turn) => new Quaternion(turn[0], -turn[1], -turn[2], turn[3]);

    // As JSON, which has no control characters in words.
    private static string Quoted(string words)
    {
        var plain = new string(words.Select(letter => char.IsControl(letter) ? ' ' : letter).ToArray());
        return "\"" + plain.Replace("\\", "\\\\").Replace("\"", "\\\"") + "\"";
    }
}

// A binary message: a header of 24 bytes, then for each frame the root's position and a quaternion per joint.
public class MotionChunk
{
    public readonly int Sequence, FirstFrame, Frames, Joints;
    private readonly float[] numbers;

    public MotionChunk(byte[] message, int size)
    {
        if (size < 24 || message[0] != 'M' || message[1] != 'L' || message[2] != 'D' || message[3] != 'F' || message[5] != 2)
            throw new FormatException("not a chunk of rotations");
        Sequence = BitConverter.ToInt32(message, 8);
        FirstFrame = BitConverter.ToInt32(message, 12);
        Frames = BitConverter.ToUInt16(message, 16);
        Joints = BitConverter.ToUInt16(message, 18);
        numbers = new float[(size - 24) / 4];
        Buffer.BlockCopy(message, 24, numbers, 0, numbers.Length * 4);
        if (numbers.Length != Frames * (3 + 4 * Joints)) throw new FormatException("a chunk of another length");
    }

    public float[] Root(int frame) => numbers.Skip(frame * (3 + 4 * Joints)).Take(3).ToArray();

    public float[] Rotation(int frame, int joint) => numbers.Skip(frame * (3 + 4 * Joints) + 3 + 4 * joint).Take(4).ToArray();

    // Rest offsets of the joints, which Unity's JSON reader does not read: arrays of arrays.
    public static float[][] Offsets(string started)
    {
        var rows = Regex.Match(started, "\"offsets\": ?\\[(\\[.*?\\])\\]").Groups[1].Value;
        return Regex.Matches(rows, "\\[([^\\]]*)\\]").Cast<Match>().Select(row => row.Groups[1].Value.Split(',')
            .Select(number => float.Parse(number, CultureInfo.InvariantCulture)).ToArray()).ToArray();
    }
}
