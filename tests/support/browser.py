"""A real Chromium, driven by the WebDriver protocol (W3C) through Debian's chromedriver."""

import base64
import json
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from support.waiting import wait_until

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # Nothing but this machine has a name or an address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
#: Seconds for one command, on a busy machine.
PATIENCE = 120
#: Keys by their names in WebDriver.
ESCAPE, ENTER, DOWN = "\ue00c", "\ue007", "\ue015"


def _started_driver() -> tuple[subprocess.Popen[str], str]:
    """The driver and its port: it takes a free one of IPv4, and ends if that of IPv6 is in use."""
    said = ""
    for _ in range(5):
        driver = subprocess.Popen(
            [DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert driver.stdout is not None
        for line in driver.stdout:
            said += line
            if found := re.search(r"successfully on port (\d+)", line):
                return driver, found[1]
        driver.communicate(timeout=PATIENCE)
    raise AssertionError(f"chromedriver does not start: {said}")


class Browser(AbstractContextManager["Browser"]):
    """One window, with a profile of its own."""

    def __init__(self, *options: str) -> None:
        with ExitStack() as stack:
            profile = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="poolhouse-", ignore_cleanup_errors=True)
            )
            driver, port = _started_driver()
            stack.callback(self._end_driver, driver)
            self._url = f"http://127.0.0.1:{port}/session"
            wanted = {
                "goog:chromeOptions": {
                    "binary": CHROMIUM,
                    "args": [*OPTIONS, *options, f"--user-data-dir={profile}"],
                },
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
                "timeouts": {"script": PATIENCE * 1000, "pageLoad": PATIENCE * 1000},
            }
            begun = self._command("POST", "", {"capabilities": {"alwaysMatch": wanted}})
            self._url += f"/{begun['sessionId']}"
            stack.callback(self._command, "DELETE", "")
            self._stack = stack.pop_all()

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, url: str) -> None:
        """Load an address."""
        self._command("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns, with ``arguments`` in it; a promise is waited for."""
        return self._command("POST", "/execute/sync", {"script": script, "args": arguments})

    def wait(self, script: str, what: str = "") -> Any:
        """What an expression is, once it is true."""
        return wait_until(lambda: self.run(f"return {script}"), what=what or script)

    def press(self, *keys: str) -> None:
        """Press and release keys, one after the other."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._command("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector: str) -> None:
        """Click on the first element that a selector finds."""
        found = self._command("POST", "/element", {"using": "css selector", "value": selector})
        self._command("POST", f"/element/{next(iter(found.values()))}/click", {})

    def drag(self, selector: str, begin: float, end: float) -> None:
        """Press the pointer on an element and let it go elsewhere: from one share of its width to another."""
        script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
        left, top, width, height = self.run(
            f"{script} return [box.left, box.top, box.width, box.height]", selector
        )
        places = [round(left + width * share) for share in (begin, begin, (begin + end) / 2, end)]
        moves = [{"type": "pointerMove", "x": x, "y": round(top + height / 2)} for x in places]
        actions = [
            *moves[:1],
            {"type": "pointerDown", "button": 0},
            *moves[1:],
            {"type": "pointerUp", "button": 0},
        ]
        self._command("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def back(self) -> None:
        """Press the back button."""
        self._command("POST", "/back", {})

    def size(self, width: int, height: int) -> None:
        """Make the window so many pixels wide and high."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.chrome("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, **features: str) -> None:
        """Let media features have these values: ``prefers_color_scheme="dark"``."""
        told = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.chrome("Emulation.setEmulatedMedia", features=told)

    def chrome(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self._command("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """What the console has said since it was asked last; breaches of the security policy are among it."""
        return [entry["message"] for entry in self._command("POST", "/se/log", {"type": "browser"})]

    def requested(self) -> list[str]:
        """The addresses that were requested since this was asked last."""
        events = (
            json.loads(entry["message"])["message"]
            for entry in self._command("POST", "/se/log", {"type": "performance"})
        )
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    def picture(self, path: Path) -> None:
        """Save what is in the window as PNG."""
        path.write_bytes(base64.b64decode(self._command("GET", "/screenshot")))

    def _command(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self._url + path, data, {"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                told = json.load(error)["value"]
            raise AssertionError(f"{path}: {told['error']}: {told['message']}") from None

    @staticmethod
    def _end_driver(driver: subprocess.Popen[str]) -> None:
        driver.terminate()
        driver.communicate(timeout=PATIENCE)
