"""What the page costs connmond, and what a frame costs a browser.

    python benchmarks/page.py [PROGRAMS PAGES SECONDS]

1. Pages: so many open streams of the view of all programs, asked for as the page does at first and compressed as
   a browser has them, read by another process as fast as they come: CPU of the daemon's thread as a share of one
   core, beside that of the same loop without a page; bytes; and the longest CPU time between two looks for
   reports. For fleets of five, fifty and of the given number of programs, and for pages that show every row.
2. History: CPU of one look, and of one sample of the last hour, and the longest CPU time between two looks for
   reports.
3. Browser: CPU of the main thread of Debian's Chromium for a frame of the given number of programs while every row
   changes: script, style, layout, and everything together.
"""

import asyncio
import gc
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from exports import Looks

from poolhouse.clock import SystemClock
from poolhouse.daemon.http.face import HttpFace
from poolhouse.daemon.http.history import look
from poolhouse.daemon.part import Hub
from poolhouse.daemon.serve import GARBAGE_THRESHOLDS
from poolhouse.fleet.fleet import Fleet
from poolhouse.fleet.limits import FleetLimits
from poolhouse.meter.histogram import Histogram
from support.browser import Browser
from support.connmond import Connmond
from support.reports import report, send

PROGRAMS, PAGES, SECONDS = 1000, 100, 20.0
FEW = (5, 50)
#: What the page asks for at first, and when somebody wants every row.
FIRST, WHOLE = "/api/?rows=50", "/api/"

#: Opens streams, and reads them until its input ends.
READER = """
import selectors, socket, sys
port, pages, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
chosen, taken = selectors.DefaultSelector(), 0
for _ in range(pages):
    one = socket.create_connection(("127.0.0.1", port))
    head = "Host: localhost\\r\\nAccept: text/event-stream\\r\\nAccept-Encoding: gzip\\r\\n\\r\\n"
    one.sendall(f"GET {path} HTTP/1.1\\r\\n{head}".encode())
    one.setblocking(False)
    chosen.register(one, selectors.EVENT_READ)
chosen.register(sys.stdin, selectors.EVENT_READ)
print("open", flush=True)
while True:
    for key, _ in chosen.select():
        if key.fileobj is sys.stdin:
            print(taken, flush=True)
            sys.exit()
        taken += len(key.fileobj.recv(1 << 20))
"""


def times(seed: int) -> Histogram:
    """Durations as a busy program has them."""
    chance, found = random.Random(seed), Histogram()
    found.record_all([int(chance.lognormvariate(-6, 2) * 1e9) for _ in range(3000)])
    return found


def reports(programs: int, number: int) -> list[bytes]:
    """A report of each program, from a host of its own; every gauge differs from report to report."""
    some = times(number)
    return [
        datagram
        for place in range(programs)
        for datagram in report(
            f"program{place}",
            host=f"web{place}",
            token=f"{place}:abcdef",
            number=number,
            interval=600.0,
            checkouts=1000 * number + place,
            used=(place * 7 + number * 3) % 40,
            idle=(place + number) % 9,
            waiting=(place + number) % 4,
            wait=some,
            use=some,
            create=some,
        )
    ]


def fleet_of(programs: int) -> Fleet:
    """A fleet in memory."""
    fleet = Fleet(FleetLimits(), time.monotonic())
    for number in (1, 2):
        for datagram in reports(programs, number):
            assert fleet.receive(datagram, time.monotonic(), time.time()) is None
    return fleet


async def pages(fleet: Fleet, path: str, number: int, seconds: float) -> tuple[float, float, float, float]:
    """Share of a core without and with pages, the longest time between looks, and bytes a page a second."""
    hub, looks = Hub(fleet, SystemClock()), Looks()
    gc.freeze()  # As connmond does.
    hub.add_listener(looks.read)
    face = HttpFace(hub, (), (), None)
    listening = await asyncio.get_running_loop().create_server(face.connection, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    history = asyncio.create_task(face.run())

    async def share() -> float:
        began, cpu = time.monotonic(), time.thread_time()
        end = began + seconds
        while time.monotonic() < end:
            # As the daemon's loop, which looks for reports whenever some arrive.
            await asyncio.sleep(0.05)
            hub.read_reports()
        return (time.thread_time() - cpu) / (time.monotonic() - began)

    idle = await share()
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        READER,
        str(port),
        str(number),
        path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert reader.stdout is not None
    assert reader.stdin is not None
    await reader.stdout.readline()
    await asyncio.sleep(2.0)
    looks.longest = 0.0
    began = time.monotonic()
    busy = await share()
    reader.stdin.close()
    taken = int(await reader.stdout.readline())
    rate = taken / number / (time.monotonic() - began + 2.0)
    history.cancel()
    face.close()
    listening.close()
    await reader.wait()
    return idle, busy, looks.longest, rate


async def sampling(fleet: Fleet, rounds: int = 7) -> tuple[float, float, float]:
    """Milliseconds of a look, of a sample, and of the longest slice."""
    hub, looks = Hub(fleet, SystemClock()), Looks()
    hub.add_listener(looks.read)

    async def cost(is_sample: bool) -> float:
        looks.last = None
        began = time.thread_time()
        await look(hub, is_sample=is_sample)
        return (time.thread_time() - began) * 1e3

    await cost(True)
    looks.longest = 0.0
    return (
        statistics.median([await cost(False) for _ in range(rounds)]),
        statistics.median([await cost(True) for _ in range(rounds)]),
        looks.longest * 1e3,
    )


#: Keeps the frames that arrive, and what draws them.
KEPT = """
window.kept = [];
window.EventSource = class extends EventSource {
  addEventListener(name, listener) {
    super.addEventListener(name, (event) => {
      listener(event);
      if (name === "frame") {
        kept.push(event.data);
        window.draw = listener;
      }
    });
  }
};
"""
#: Draws frames that were kept, one after the other, each until it is on the screen.
DRAW = """
const shown = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
return (async () => {
  for (let index = 0; index < arguments[0]; index += 1) {
    draw({ data: kept[index % kept.length] });
    await shown();
  }
})();
"""
#: Frames that are drawn.
FRAMES = 30
PARTS = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration", "TaskDuration")


def browsing(programs: int, *, is_whole: bool) -> list[float]:
    """The CPU milliseconds of each part of a frame in which every row is another than in the one before.

    Either the rows that are drawn at first, or, if `is_whole`, all of them.
    """
    with Connmond("--http", "127.0.0.1:0") as daemon, Browser() as browser:
        browser.size(1440, 900)
        browser.chrome("Performance.enable", timeDomain="threadTicks")
        browser.chrome("Page.addScriptToEvaluateOnNewDocument", source=KEPT)
        tell(daemon, programs, 1)
        browser.open(f"http://127.0.0.1:{daemon.http}/")
        rows = "document.querySelectorAll('tbody tr').length"
        browser.wait(f"{rows} > 0", "the programs")
        if is_whole:
            browser.run("[...document.querySelectorAll('.sheet > button')].forEach(button => button.click())")
            browser.wait(f"{rows} === {programs}", "every program")
        browser.run("window.differing = []")
        for number in range(2, 6):
            tell(daemon, programs, number)
            before = browser.run("return kept.length")
            browser.wait(f"kept.length >= {before} + 2", "a frame with these reports")
            browser.run("differing.push(kept.at(-1))")
        # Nothing else is drawn meanwhile: the tab is as if nobody saw it.
        browser.run("Object.defineProperty(document, 'hidden', {value: true});")
        browser.run("document.dispatchEvent(new Event('visibilitychange')); kept = differing")

        def spent() -> list[float]:
            told = {one["name"]: one["value"] for one in browser.chrome("Performance.getMetrics")["metrics"]}
            return [told[name] * 1e3 for name in PARTS]

        browser.run(DRAW, FRAMES)
        before = spent()
        browser.run(DRAW, FRAMES)
        return [(now - then) / FRAMES for now, then in zip(spent(), before, strict=True)]


def tell(daemon: Connmond, programs: int, number: int) -> None:
    """Send reports no faster than they are read."""
    told = reports(programs, number)
    for at in range(0, len(told), 50):
        send(told[at : at + 50], daemon.reports)
        time.sleep(0.01)


def main() -> None:
    given = sys.argv[1:4]
    programs, number = (int(one) for one in given[:2]) if given else (PROGRAMS, PAGES)
    seconds = float(given[2]) if given else SECONDS
    gc.set_threshold(*GARBAGE_THRESHOLDS)  # As connmond has it.
    print(f"CPython {platform.python_version()}, {os.cpu_count()} cores")
    figures: dict[str, object] = {}
    for size, path in (*((size, FIRST) for size in (*FEW, programs)), (programs, WHOLE)):
        idle, busy, longest, rate = asyncio.run(pages(fleet_of(size), path, number, seconds))
        print(
            f"{size} programs, {number} pages of {path}: {busy * 100:.2f} % of a core, "
            f"{idle * 100:.2f} % without; {rate / 1e3:.1f} kB a second and page; "
            f"longest slice {longest * 1e3:.1f} ms"
        )
        figures[f"{size} programs, {path}"] = {
            "share": busy,
            "share_without": idle,
            "bytes_s": rate,
            "longest_ms": longest * 1e3,
        }
    short, long, longest = asyncio.run(sampling(fleet_of(programs)))
    print(
        f"history of {programs} programs: {short:.1f} ms every 2 s, {long:.1f} ms every 10 s; "
        f"longest slice {longest:.1f} ms"
    )
    figures["history"] = {"look_ms": short, "sample_ms": long, "longest_ms": longest}
    for is_whole in (False, True):
        parts = browsing(programs, is_whole=is_whole)
        script, style, layout, whole = parts
        rows = "all of its rows" if is_whole else "as it is at first"
        print(
            f"a frame of {programs} programs in Chromium, {rows}: {whole:.0f} ms; "
            f"script {script:.0f}, style {style:.0f}, layout {layout:.0f} (mean of {FRAMES})"
        )
        figures[f"browser, {rows}"] = {"whole_ms": whole, "parts_ms": parts}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
