// As much of Unity as clients/MotionStream.cs uses, and a game loop that prints where the transforms are in the world:
// "frame x y z x y z ...", a line for each frame that is shown. arguments: address, frames, words said in the middle.
// Vectors, quaternions and transforms follow Unity's documentation: a child is at parent + turned(local position).

using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Reflection;
using System.Text;
using System.Threading;

namespace UnityEngine
{
    public struct Vector3
    {
        public float x, y, z;
        public Vector3(float x, float y, float z) { this.x = x; this.y = y; this.z = z; }
        public static Vector3 operator +(Vector3 a, Vector3 b) => new Vector3(a.x + b.x, a.y + b.y, a.z + b.z);
        public static Vector3 Cross(Vector3 a, Vector3 b) =>
            new Vector3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
        public static Vector3 operator *(float s, Vector3 a) => new Vector3(s * a.x, s * a.y, s * a.z);
    }

    public struct Quaternion
    {
        public float x, y, z, w;
        public Quaternion(float x, float y, float z, float w) { this.x = x; this.y = y; this.z = z; this.w = w; }
        public static Quaternion operator *(Quaternion a, Quaternion b) => new Quaternion(
            a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y, a.w * b.y + a.y * b.w + a.z * b.x - a.x * b.z,
            a.w * b.z + a.z * b.w + a.x * b.y - a.y * b.x, a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z);
        public static Vector3 operator *(Quaternion q, Vector3 v)
        {
            var u = new Vector3(q.x, q.y, q.z);
            var t = 2 * Vector3.Cross(u, v);
            return v + q.w * t + Vector3.Cross(u, t);
        }
    }

    public class Transform
    {
        private Transform parent;
        public Vector3 localPosition;
        public Quaternion localRotation = new Quaternion(0, 0, 0, 1);
        public void SetParent(Transform above, bool worldPositionStays)
        {
            if (worldPositionStays) throw new NotSupportedException();
            parent = above;
        }
        public Vector3 position => parent == null ? localPosition : parent.position + parent.rotation * localPosition;
        public Quaternion rotation => parent == null ? localRotation : parent.rotation * localRotation;
    }

    public class GameObject
    {
        public readonly string name;
        public readonly Transform transform = new Transform();
        public GameObject(string name) { this.name = name; }
    }

    public class MonoBehaviour
    {
        public readonly Transform transform = new Transform();
    }

    public static class Time { public static float deltaTime; }

    public static class Mathf { public static int FloorToInt(float value) => (int)Math.Floor(value); }

    public static class Debug { public static void LogWarning(object said) => Console.Error.WriteLine("WARNING " + said); }

    // Fields by their names; arrays of arrays and unknown names are passed over, as Unity does.
    public static class JsonUtility
    {
        public static T FromJson<T>(string text)
        {
            var at = 0;
            var found = (Dictionary<string, object>)Value(text, ref at);
            var made = (T)Activator.CreateInstance(typeof(T), true);
            foreach (var field in typeof(T).GetFields())
            {
                if (!found.TryGetValue(field.Name, out var value)) continue;
                if (field.FieldType == typeof(string)) field.SetValue(made, (string)value);
                else if (field.FieldType == typeof(float)) field.SetValue(made, (float)(double)value);
                else if (field.FieldType == typeof(string[]))
                    field.SetValue(made, ((List<object>)value).Cast<string>().ToArray());
                else if (field.FieldType == typeof(int[]))
                    field.SetValue(made, ((List<object>)value).Select(one => (int)(double)one).ToArray());
                else throw new NotSupportedException(field.Name);
            }
            return made;
        }

        private static object Value(string text, ref int at)
        {
            Blank(text, ref at);
            var first = text[at];
            if (first == '"') return Words(text, ref at);
            if (first == '{' || first == '[')
            {
                var named = new Dictionary<string, object>();
                var row = new List<object>();
                at++;
                for (Blank(text, ref at); text[at] != '}' && text[at] != ']'; Blank(text, ref at))
                {
                    if (text[at] == ',') { at++; continue; }
                    if (first == '[') { row.Add(Value(text, ref at)); continue; }
                    var name = Words(text, ref at);
                    Blank(text, ref at);
                    at++;
                    named[name] = Value(text, ref at);
                }
                at++;
                return first == '{' ? (object)named : row;
            }
            var start = at;
            while (at < text.Length && ",]} ".IndexOf(text[at]) < 0) at++;
            var word = text.Substring(start, at - start);
            if (word == "true" || word == "false" || word == "null") return word == "null" ? null : (object)(word == "true");
            return double.Parse(word, CultureInfo.InvariantCulture);
        }

        private static string Words(string text, ref int at)
        {
            var made = new StringBuilder();
            for (at++; text[at] != '"'; at++)
            {
                if (text[at] != '\\') { made.Append(text[at]); continue; }
                at++;
                if (text[at] == 'u') { made.Append((char)Convert.ToInt32(text.Substring(at + 1, 4), 16)); at += 4; }
                else made.Append(text[at] == 'n' ? '\n' : text[at] == 't' ? '\t' : text[at]);
            }
            at++;
            return made.ToString();
        }

        private static void Blank(string text, ref int at) { while (char.IsWhiteSpace(text[at])) at++; }
    }
}

public static class Game
{
    private const BindingFlags Hidden = BindingFlags.Instance | BindingFlags.NonPublic;

    public static int Main(string[] arguments)
    {
        CultureInfo.CurrentCulture = new CultureInfo("de-DE"); // numbers with a comma: none may reach the wire
        var figure = new MotionStream { address = arguments[0] };
        var frames = int.Parse(arguments[1]);
        var until = DateTime.UtcNow.AddSeconds(90);
        Tell(figure, "Start");
        UnityEngine.Time.deltaTime = 1 / 60f;
        for (var shown = -1; shown < frames - 1;)
        {
            if (DateTime.UtcNow > until) return 1;
            Thread.Sleep(2);
            Tell(figure, "Update");
            var bones = (UnityEngine.Transform[])Field(figure, "bones");
            var chunk = (MotionChunk)Field(figure, "now");
            if (bones == null || chunk == null) continue;
            var frame = (int)Math.Floor((float)Field(figure, "clock") * (float)Field(figure, "fps"));
            if (frame < chunk.FirstFrame || frame == shown) continue;
            if (shown < frames / 2 && frame >= frames / 2) figure.Say(arguments[2]);
            shown = frame;
            var numbers = bones.Select(one => one.position).SelectMany(at => new[] { at.x, at.y, at.z });
            Console.WriteLine(frame + " " + string.Join(" ", numbers.Select(n => n.ToString("R", CultureInfo.InvariantCulture))));
        }
        Tell(figure, "OnDestroy");
        return 0;
    }

    private static void Tell(MotionStream figure, string what) => typeof(MotionStream).GetMethod(what, Hidden).Invoke(figure, null);

    private static object Field(MotionStream figure, string name) => typeof(MotionStream).GetField(name, Hidden).GetValue(figure);
}
