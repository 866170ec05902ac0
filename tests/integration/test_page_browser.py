"""The page in a real Chromium, over a real connmond with crafted reports."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import pytest

from poolhouse.meter.histogram import Histogram
from poolhouse.meter.signs import Looks, PoolSigns, SiteReading
from support.browser import DOWN, ENTER, ESCAPE, Browser
from support.connmond import Connmond
from support.reports import report, send

PROGRAMS = ("billing", "catalog", "checkout", "mailer")
#: Widths and the system's colours in which a view is looked at, and whether axe-core looks, too.
SIZES = ((360, "light", True), (768, "light", False), (1440, "dark", True), (3840, "light", False))
#: axe-core, which the package brings along.
AXE = files("axe_core_python") / "axe.min.js"
#: A view of each kind.
VIEWS = ("/", "/hosts", "/lines", "/events", "/verdicts", "/program/checkout", "/host/web1")
ROWS = "[...document.querySelectorAll('tbody th a')].map(link => link.textContent)"


def fleet_reports(number: int) -> list[bytes]:
    """A fleet in which one program is full."""
    times = Histogram()
    times.record_all([2_000_000] * 70 + [9_000_000] * 25 + [300_000_000] * 5)
    line = SiteReading(
        "app/views.py:88 in cart", 9, 41.0, 120, 2, 300.0, 12.0, Looks(30, 60, 0, 10), "app/a.py:3", times
    )
    found: list[bytes] = []
    for place, program in enumerate(PROGRAMS):
        is_full = program == "checkout"
        found += report(
            program,
            host=f"web{1 + place % 2}",
            token=f"{place}:abcdef",
            number=number,
            interval=2.0,
            used=10 if is_full else place,
            idle=2,
            waiting=4 if is_full else 0,
            checkouts=100 * number,
            timeouts=3 if is_full else 0,
            wait=times,
            use=times,
            create=times,
            pool_signs=PoolSigns(sites=(line,)) if is_full else None,
        )
    return found


class Reports(threading.Thread):
    """Reports of the fleet, every half second until it ends."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.end = threading.Event()
        self._port = port

    def run(self) -> None:
        number = 0
        while not self.end.is_set():
            number += 1
            send(fleet_reports(number), self._port)
            self.end.wait(0.5)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Connmond]:
    with Connmond("--http", "127.0.0.1:0") as daemon:
        reports = Reports(daemon.reports)
        reports.start()
        try:
            yield daemon
        finally:
            reports.end.set()
            reports.join()


@pytest.fixture(scope="module")
def window(daemon: Connmond) -> Iterator[Browser]:
    missing = [path for path in ("chromium", "chromedriver") if shutil.which(path) is None]
    assert not missing, f"{missing} missing: python3 tools/setup.py services"
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """The window at its usual size; afterwards nothing is amiss in its console."""
    window.size(1440, 900)
    window.prefer(prefers_color_scheme="light")
    window.console(), window.requested()
    yield window
    assert window.console() == []


def show(browser: Browser, daemon: Connmond, path: str = "/") -> None:
    """Open a view and wait for its first frame."""
    browser.open(f"http://127.0.0.1:{daemon.http}{path}")
    browser.wait("document.getElementById('status').dataset.state === 'live'", f"{path} is live")


def test_it_shows_every_program_and_what_is_wrong(browser: Browser, daemon: Connmond) -> None:
    show(browser, daemon)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    assert browser.run(f"return {ROWS}")[0] == "checkout"  # Most in use.
    cells = "[...document.querySelector('tbody tr').children].map(cell => cell.textContent)"
    assert "10/– " in " ".join(browser.wait(cells))
    assert browser.run("return document.querySelector('tbody tr').dataset.tone") == "bad"
    assert browser.run("return document.getElementById('verdict').getAttribute('aria-live')") == "polite"
    assert browser.run("return document.querySelectorAll('[aria-live]').length") == 1
    before = browser.run("return document.getElementById('time').textContent")
    browser.wait(f"document.getElementById('time').textContent !== '{before}'", "the next frame")


def test_it_asks_nobody_else(browser: Browser, daemon: Connmond) -> None:
    for path in VIEWS:
        show(browser, daemon, path)
    origin = f"http://127.0.0.1:{daemon.http}/"
    # The icon of the window is asked for by the browser itself.
    asked = {url for url in browser.requested() if not url.startswith(("data:", "chrome:"))}
    assert asked
    assert {url for url in asked if not url.startswith(origin)} == set()


def test_a_heading_sorts_and_the_address_remembers_it(browser: Browser, daemon: Connmond) -> None:
    show(browser, daemon)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    sorted_by = "document.querySelector('[aria-sort]')"
    assert browser.run(f"return {sorted_by}.textContent.trim()") == "USED/MAX▾"
    browser.click("thead th.name button")
    browser.wait(f"{ROWS}.join() === '{','.join(PROGRAMS)}'")
    assert browser.run(f"return {sorted_by}.getAttribute('aria-sort')") == "ascending"
    browser.click("thead th.name button")
    browser.wait(f"{ROWS}.join() === '{','.join(reversed(PROGRAMS))}'")
    assert browser.run("return location.search") == "?sort=-PROGRAM"
    show(browser, daemon, "/?sort=-PROGRAM&filter=il")
    assert browser.run(f"return {ROWS}") == ["mailer", "billing"]


def test_links_lead_on_and_the_back_button_back(browser: Browser, daemon: Connmond) -> None:
    show(browser, daemon)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    browser.click("tbody th a")
    browser.wait("document.querySelector('h1').textContent === 'checkout'")
    browser.wait(f"{ROWS}.some(text => text.includes('app/views.py:88'))", "the line that holds")
    browser.click("[data-heading=POOL] a")
    browser.wait("document.querySelectorAll('.distribution svg').length === 3", "three distributions")
    assert browser.run("return location.pathname").startswith("/program/checkout/pool/web1/")
    browser.back()
    browser.wait("document.querySelector('h1').textContent === 'checkout'")
    browser.back()
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    # No link loaded the document anew.
    assert sum(url.endswith("/assets/main.js") for url in browser.requested()) == 1


def test_the_keys_of_the_window_work(browser: Browser, daemon: Connmond) -> None:
    show(browser, daemon)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    for key, path in (("h", "/hosts"), ("e", "/events"), ("l", "/lines"), ("w", "/verdicts"), ("p", "/")):
        browser.press(key)
        browser.wait(f"location.pathname === '{path}'")
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    browser.press("/", *"bill")
    browser.wait(f"{ROWS}.join() === 'billing'")
    assert browser.run("return location.search") == "?filter=bill"
    browser.press(ESCAPE)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
    browser.press("j", DOWN)
    second = browser.run(f"return {ROWS}[1]")
    assert browser.run("return document.activeElement.textContent") == second
    browser.press(ENTER)
    browser.wait(f"document.querySelector('h1').textContent === '{second}'")
    browser.press(ESCAPE)
    browser.wait(f"location.pathname === '/' && {ROWS}.length === {len(PROGRAMS)}")
    before = browser.run("return document.querySelector('[aria-sort]').textContent")
    browser.press("s")
    browser.wait(f"document.querySelector('[aria-sort]').textContent !== '{before}'")
    browser.press("i")
    browser.wait("location.search.startsWith('?sort=-')")
    browser.press("?")
    browser.wait("document.querySelector('dialog').textContent.includes('Callers that wait for a connection')")
    browser.press(ESCAPE)
    browser.wait("document.querySelector('dialog') === null")
    browser.press(" ")
    browser.wait("document.getElementById('status').textContent.includes('paused')")
    browser.press(" ")
    browser.wait("document.getElementById('status').textContent.includes('live')")


def test_one_time_cursor_for_all_charts_is_kept_in_the_address(browser: Browser, daemon: Connmond) -> None:
    show(browser, daemon, "/program/checkout")
    browser.wait("document.querySelectorAll('.timeline:not([hidden]) .chart').length === 4", "the charts")
    browser.wait("document.querySelector('.series').getAttribute('d').includes('L')", "two samples of the program")
    browser.press("\ue012")  # The left arrow.
    browser.wait("location.search.startsWith('?at=')")
    places = "new Set([...document.querySelectorAll('.cursor')].map(line => line.getAttribute('x1')))"
    assert browser.run(f"return {places}.size") == 1
    assert "used 10" in browser.run("return document.querySelector('.values').textContent")
    time = browser.run("return document.querySelector('.cursor-time').textContent")
    browser.open(browser.run("return location.href"))
    browser.wait(f"document.querySelector('.cursor-time').textContent === '{time}'", "the same time")
    browser.press(ESCAPE)
    browser.wait("location.search === ''")


#: The last hour of a program as the page is sent it, full from the first sample to the last.
HOUR = """
const times = Array.from({length: 360}, (_, index) => Math.floor(Date.now() / 10000) * 10 - 10 * (359 - index));
const values = times.map((_, index) => index), texts = values.map(String);
const chart = (title) => ({title, top: 359, top_text: "359", series: [{name: "used", values, texts}]});
const past = {step_seconds: 10, times, charts: ["one", "two"].map(chart), marks: []};
window.EventSource = class extends EventSource {
    addEventListener(name, listener) {
        super.addEventListener(name, name !== "past" ? listener : () => listener({data: JSON.stringify(past)}));
    }
};
"""


def test_a_part_of_the_hour_is_chosen_for_all_charts_by_dragging_and_by_keys(
    browser: Browser, daemon: Connmond
) -> None:
    texts = "[...document.querySelectorAll('.values')].map(one => one.textContent).join()"
    tops = "[...document.querySelectorAll('.top-value')].map(one => one.textContent).join()"
    title = "document.querySelector('.timeline h2').textContent"
    slider = "document.querySelector('.timeline input').max"
    with before_scripts(browser, HOUR):
        show(browser, daemon)
        browser.wait(f"{ROWS}.length > 0 && {slider} === '359' && {title} === 'Last hour'")
        browser.press(" ")  # Nothing moves under the pointer.
        browser.drag(".stage", 0.25, 0.75)
        browser.wait("location.search.startsWith('?from=')")
        assert browser.run(f"return {title}") != "Last hour"
        first, count = (int(browser.run(f"return {script}")) for script in (f"{tops}.split(',')[1]", slider))
        assert (first, count) == (pytest.approx(269, abs=2), pytest.approx(180, abs=3))
        assert browser.run(f"return new Set({texts}.split(',')).size") == 1
        address = browser.run("return location.href")
        browser.press("+")
        browser.wait(f"{slider} === '{round(count / 2)}' || {slider} === '{count // 2}'", "half of it")
        browser.open(address)
        browser.wait(f"{ROWS}.length > 0 && {slider} === '{count}'", "the same part from the address")
        browser.press(" ")
        browser.press("-", "-")
        browser.wait(f"{title} === 'Last hour' && location.search === ''")
        browser.drag(".stage", 0.5, 0.5)  # A click pins the time.
        browser.wait("location.search.startsWith('?at=')")
        browser.press("+")
        browser.wait("location.search.includes('&from=')")
        browser.press(ESCAPE)
        browser.wait("location.search.startsWith('?from=')")
        browser.click(".timeline-head button:last-child")
        browser.wait(f"{title} === 'Last hour' && location.search === ''")


@contextmanager
def before_scripts(browser: Browser, script: str) -> Iterator[None]:
    """Run a script in each document before its own."""
    added = browser.chrome("Page.addScriptToEvaluateOnNewDocument", source=script)
    try:
        yield
    finally:
        browser.chrome("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_a_tab_that_nobody_sees_has_no_stream(browser: Browser, daemon: Connmond) -> None:
    kept = """window.streams = [];
    window.EventSource = class extends EventSource {
        constructor(...given) { super(...given); streams.push(this); }
    };"""
    hide = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    tell = "document.dispatchEvent(new Event('visibilitychange'));"
    is_open = "streams.filter(stream => stream.readyState !== EventSource.CLOSED).length"
    with before_scripts(browser, kept):
        show(browser, daemon)
        assert browser.run(f"return {is_open}") == 1
        browser.run(hide % "true" + tell)
        assert browser.run(f"return {is_open}") == 0
        before = browser.run("return document.getElementById('time').textContent")
        browser.run(hide % "false" + tell)
        browser.wait(f"document.getElementById('time').textContent !== '{before}'", "frames come again")
        assert browser.run(f"return {is_open}") == 1


def test_without_streams_it_asks(browser: Browser, daemon: Connmond) -> None:
    """As a browser does whose stream is refused with 503."""
    refused = """window.EventSource = class extends EventTarget {
        static CLOSED = 2;
        readyState = 2;
        constructor() { super(); setTimeout(() => this.dispatchEvent(new Event("error")), 0); }
        close() {}
    };"""
    with before_scripts(browser, refused):
        browser.open(f"http://127.0.0.1:{daemon.http}/")
        browser.wait("document.getElementById('status').dataset.state === 'asking'")
        browser.wait(f"{ROWS}.length === {len(PROGRAMS)}")
        before = browser.run("return document.getElementById('time').textContent")
        browser.wait(f"document.getElementById('time').textContent !== '{before}'", "it asks again")


@pytest.fixture(scope="module")
def crowd() -> Iterator[Connmond]:
    """A fleet of 150 programs, of which a higher number says more use."""
    with Connmond("--http", "127.0.0.1:0") as daemon:
        for number in range(150):
            send(report(f"program{number:03}", token=f"{number}:a", interval=600.0, used=number), daemon.reports)
        yield daemon


def test_of_many_programs_the_first_are_drawn_until_somebody_wants_more(browser: Browser, crowd: Connmond) -> None:
    show(browser, crowd)
    browser.wait("document.querySelector('.sheet > button').textContent === 'show all 150 rows'")
    browser.wait(f"{ROWS}.length === 50")
    browser.run("document.querySelector('tbody tr:last-child').scrollIntoView()")
    browser.wait(f"{ROWS}.length === 100")
    browser.click(".sheet > button")
    browser.wait(f"{ROWS}.length === 150")
    browser.wait("document.activeElement.textContent === 'program049'", "the first row that is new has the focus")
    browser.open("about:blank")


def test_of_many_programs_the_server_chooses_those_that_are_wanted(browser: Browser, crowd: Connmond) -> None:
    note = "document.querySelector('.note').textContent"
    show(browser, crowd, "/?filter=program00")  # The least used ones.
    browser.wait(f"{ROWS}.length === 10 && {note} === '10 rows contain “program00”'")
    show(browser, crowd, "/?sort=-PROGRAM")
    browser.wait(f"{ROWS}.length === 50 && {ROWS}[0] === 'program149'")
    browser.click("thead th.name button")  # Back to the table's own order of names.
    browser.wait(f"{ROWS}.length === 50 && {ROWS}[49] === 'program049'")
    browser.press("/", *"program1", "4")
    browser.wait(f"{ROWS}.length === 10 && {ROWS}[0] === 'program140' && {note}.startsWith('10 rows')")
    assert [url.partition("?")[2] for url in browser.requested() if "/api/?" in url][-2:] == [
        "rows=50&sort=PROGRAM",
        "rows=50&sort=PROGRAM&filter=program14",
    ]
    browser.open("about:blank")


def test_names_are_text(browser: Browser, daemon: Connmond) -> None:
    name = "<img src=x onerror=alert(1)>"
    send(report(name, token="66:evil", interval=60.0), daemon.reports)
    show(browser, daemon)
    browser.wait(f"{ROWS}.length === {len(PROGRAMS) + 1}")
    assert name in browser.run(f"return {ROWS}")
    assert browser.run("return document.querySelectorAll('main img').length") == 0
    send(report(name, token="66:evil", number=2, interval=60.0, goodbye=True), daemon.reports)


@pytest.mark.parametrize("path", VIEWS)
def test_it_fits_and_everybody_can_use_it(browser: Browser, daemon: Connmond, path: str) -> None:
    """In every size nothing is wider than the window, and axe-core finds nothing."""
    show(browser, daemon, path)
    browser.wait("document.querySelector('.figures').children.length > 0")
    browser.chrome("Runtime.evaluate", expression=AXE.read_text())
    for width, scheme, is_examined in SIZES:
        browser.size(width, 900)
        browser.prefer(prefers_color_scheme=scheme)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        if is_examined:
            told = browser.run("return axe.run(document)")
            found = [(one["id"], [node["html"][:200] for node in one["nodes"][:3]]) for one in told["violations"]]
            assert found == [], json.dumps(found, indent=1)
            assert {"color-contrast", "button-name"} <= {one["id"] for one in told["passes"]}


def test_dark_is_dark_and_a_choice_is_kept(browser: Browser, daemon: Connmond) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    show(browser, daemon)
    light = browser.run(f"return {ground}")
    browser.prefer(prefers_color_scheme="dark")
    dark = browser.run(f"return {ground}")
    assert light != dark
    browser.click("#theme")
    assert browser.run(f"return {ground}") == light
    show(browser, daemon, "/hosts")
    assert browser.run(f"return {ground}") == light
    browser.run("localStorage.clear()")
