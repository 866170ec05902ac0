// Frames of one view, as they are made: by a stream of Server-Sent Events, or, where there is none, by asking.
//
// A browser opens six connections to a host at once, over all of its tabs: a tab that nobody sees therefore has none.

const ASK_AGAIN_MS = 2000;
// A stream that has not begun by then is given up for asking: all connections may be taken.
const PATIENCE_MS = 6000;
// A stream is tried again after so long.
const TRY_AGAIN_MS = 30000;

export class Live {
  /**
   * `onFrame` is called with each frame, `onPast` with the last hour when there is another sample of it, `onState` with
   * "live", "asking", "silent" or "connecting".
   */
  constructor(onFrame, onPast, onState) {
    this.onFrame = onFrame;
    this.onPast = onPast;
    this.onState = onState;
    this.path = null;
    this.source = null;
    this.timers = new Set();
    this.tag = null;
    document.addEventListener("visibilitychange", () => this.open());
    addEventListener("pagehide", () => this.close());
    addEventListener("pageshow", () => this.open());
  }

  /** Show another view. */
  show(path) {
    this.path = path;
    this.tag = null;
    this.open();
  }

  /** Open the stream, or close it while nobody sees the tab. */
  open() {
    this.close();
    if (this.path === null || document.hidden) return;
    this.onState("connecting");
    const source = new EventSource(this.path);
    this.source = source;
    const patience = this.after(PATIENCE_MS, () => this.ask());
    source.addEventListener("frame", (event) => {
      this.cancel(patience);
      this.onState("live");
      this.onFrame(JSON.parse(event.data));
    });
    source.addEventListener("past", (event) => this.onPast(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      this.onState("silent");
      // The browser opens it again by itself, but for an answer that is no stream.
      if (source.readyState === EventSource.CLOSED) this.ask();
    });
  }

  /** End whatever is under way. */
  close() {
    this.source?.close();
    this.source = null;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.asking?.abort();
    this.asking = null;
  }

  /** Ask again and again, and after a while try a stream again. */
  async ask() {
    this.close();
    this.after(TRY_AGAIN_MS, () => this.open());
    await this.askOnce();
  }

  async askOnce() {
    const asking = new AbortController();
    this.asking = asking;
    try {
      const headers = this.tag === null ? {} : { "If-None-Match": this.tag };
      const answer = await fetch(this.path, { headers, signal: asking.signal, cache: "no-store" });
      if (answer.status === 200) {
        const frame = await answer.json();
        if (asking.signal.aborted) return;
        this.tag = answer.headers.get("ETag");
        this.onFrame(frame);
        if (frame.past !== undefined) this.onPast(frame.past);
      }
      this.onState(answer.ok || answer.status === 304 ? "asking" : "silent");
    } catch {
      if (asking.signal.aborted) return;
      this.onState("silent");
    }
    this.after(ASK_AGAIN_MS, () => this.askOnce());
  }

  after(milliseconds, act) {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, milliseconds);
    this.timers.add(timer);
    return timer;
  }

  cancel(timer) {
    clearTimeout(timer);
    this.timers.delete(timer);
  }
}
