// A stream of motion over a WebSocket: starts, talks, acknowledges what was shown, and comes back after a lost connection.
// Events: `started` (description), `chunk` ({ sequence, firstFrame, frames, joints }), `said`, `ended`, `problem` (text), `state` (text).

const HEADER = 24; // bytes; mld/serve/protocol.py has the fields
const RETRY = [250, 500, 1000, 2000, 4000, 8000]; // milliseconds

export class Stream extends EventTarget {
  constructor(address, token = "") {
    super();
    Object.assign(this, { address, token, next: 0, acknowledged: -1, tries: 0, about: null });
  }

  start(text, options = {}) {
    this.#open({ type: "start", text, ...options });
  }

  say(text) {
    this.#send({ type: "say", text });
  }

  pause(on) {
    this.#send({ type: "pause", on });
  }

  stop() {
    this.over = true;
    this.#send({ type: "stop" });
  }

  /** All chunks up to this number were shown: the server makes more. */
  acknowledge(sequence) {
    if (sequence <= this.acknowledged || sequence >= this.next) return;
    if (this.#send({ type: "ack", sequence })) this.acknowledged = sequence;
  }

  #open(first) {
    this.over = false;
    const protocols = ["mld.stream.v1", ...(this.token ? [`bearer.${this.token}`] : [])];
    this.socket = new WebSocket(this.address, protocols);
    this.socket.binaryType = "arraybuffer";
    this.socket.addEventListener("open", () => { this.#tell("state", "connected"); this.#send(first); });
    this.socket.addEventListener("message", ({ data }) => this.#take(data));
    this.socket.addEventListener("close", () => this.#lost());
  }

  #lost() {
    if (this.over || !this.about) {
      this.#tell("state", "not connected");
      if (!this.over) this.#tell("problem", "The server cannot be reached, or wants a token: open this page with #token=TOKEN");
      return;
    }
    if (this.tries >= RETRY.length) {
      this.#tell("problem", "The connection was lost.");
      return;
    }
    this.#tell("state", "connecting again");
    setTimeout(() => this.#open({ type: "resume", session: this.about.session, next: this.next }), RETRY[this.tries]);
    this.tries += 1;
  }

  #take(data) {
    if (typeof data === "string") {
      const message = JSON.parse(data);
      if (message.type === "started" || message.type === "resumed") {
        this.about = message;
        this.tries = 0;
        this.acknowledged = this.next - 1;
      }
      if (message.type === "ended" || message.type === "stopped") this.over = true;
      if (message.type === "error") this.#tell("problem", message.error);
      if (message.type === "error" && !this.about) this.over = true; // it was not started: the server said why, and hangs up
      if (message.type === "error" && message.code === "bad_request" && message.error.includes("no session")) this.over = true;
      this.#tell(message.type, message);
      return;
    }
    const view = new DataView(data);
    const sequence = view.getUint32(8, true);
    if (sequence !== this.next) return;
    this.next += 1;
    this.#tell("chunk", {
      sequence, firstFrame: view.getUint32(12, true), frames: view.getUint16(16, true), joints: new Float32Array(data, HEADER),
    });
  }

  #send(message) {
    if (this.socket?.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
