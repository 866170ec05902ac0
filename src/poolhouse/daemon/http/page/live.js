// Live frames of one view: from a stream of Server-Sent Events, or by polling if there is no stream.
//
// A browser opens at most six connections to a host, over all of its tabs, so a hidden tab closes its stream.

const ASK_AGAIN_MS = 2000;
// A stream that has not begun by then is replaced by polling: all connections may be taken.
const PATIENCE_MS = 6000;
// While polling, try a stream again after this time.
const TRY_AGAIN_MS = 30000;

export class Live {
  /**
   * `onFrame` is called with each frame, `onPast` with the last hour whenever it has a new sample, `onState` with
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

  /** Open the stream, or close it while the tab is hidden. */
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
      // The browser reconnects by itself, unless the answer was not a stream.
      if (source.readyState === EventSource.CLOSED) this.ask();
    });
  }

  /** Close the stream, stop the timers and abort the request. */
  close() {
    this.source?.close();
    this.source = null;
    for (const timer of this.timers) clearTimeout(timer);
    this.timers.clear();
    this.asking?.abort();
    this.asking = null;
  }

  /** Poll, and after a while try a stream again. */
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
