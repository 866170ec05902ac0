"""Draw docs/images/page.png: a real Chromium looks at the demo's fleet.

    python tools/page_picture.py [SECONDS]

The fleet runs for so many seconds, ten minutes by default, so that its last hour has something to show.
"""

import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.demo.family import Family
from support.browser import Browser

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "page.png"
WIDTH, HEIGHT = 1280, 640


def main() -> None:
    """Start the fleet, wait, and take the picture."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    with tempfile.TemporaryDirectory(prefix="poolhouse-") as name:
        errors = Path(name) / "errors.log"
        with Family(errors) as daemons, Family(errors) as programs:
            anywhere = [
                option for port in ("reports", "consoles", "http") for option in (f"--{port}", "127.0.0.1:0")
            ]
            daemon = daemons.start("poolhouse.daemon", "--bind", "off", *anywhere)
            announced = ""
            while "http" not in announced:
                announced += daemon.readline()
            reports = re.findall(r"reports +UDP \S+:(\d+)", announced)[0]
            page = re.findall(r"http://\S+", announced)[0]
            programs.start("poolhouse.demo.worker", name, reports)
            time.sleep(seconds)
            with Browser() as browser:
                browser.size(WIDTH, HEIGHT)
                browser.open(page)
                browser.wait(
                    "document.querySelectorAll('.chart').length === 4 && document.querySelector('tbody tr')"
                )
                browser.picture(PICTURE)
    print(f"drew {PICTURE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
