"""Minutes of threads, tasks, cancellation, collection, resizing, draining and closing: `python -m stress 120`.

Run from the folder `tests` (`make stress` does). Only invariants are asserted. Each round has a fresh seed, which
is printed when the round fails; a round is run again with ``--seed``. What runs in virtual time fails again with
the same seed: keep it as a named test. Threads and tasks in real time do not, but run under the same settings.
"""

import argparse
import faulthandler
import logging
import secrets
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable

from stress import in_use, real, virtual

ROUNDS: dict[str, Callable[[int], None]] = {
    "threads": real.threads,
    "tasks": real.tasks,
    "both": real.both,
    "in_use": in_use.in_use,
    "core": virtual.core,
    "schedules": virtual.schedules,
    "cancellations": virtual.cancellations,
    "cluster": virtual.cluster,
}


def main() -> int:
    """Run rounds until the time is over; how many failed."""
    parser = argparse.ArgumentParser(prog="stress", description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=180.0, help="how long to go on (180)")
    parser.add_argument("--only", choices=ROUNDS, action="append", help="this kind of round only; repeatable")
    parser.add_argument("--seed", type=int, help="one round with this seed")
    settings = parser.parse_args()
    # A round that hangs is told with the stack of every thread.
    faulthandler.enable()
    logging.disable()
    # A finalizer that is struck has nobody to tell.
    sys.unraisablehook = lambda told: None if told.exc_type is real.Strike else sys.__unraisablehook__(told)
    began, done, failures = time.monotonic(), Counter[str](), 0
    while True:
        for kind in settings.only or ROUNDS:
            seed = secrets.randbits(32) if settings.seed is None else settings.seed
            command = f"python -m stress --only {kind} --seed {seed}"
            told = threading.Timer(100, print, [f"hangs: {command}"], {"flush": True})
            told.daemon = True
            told.start()
            faulthandler.dump_traceback_later(120, exit=True)
            try:
                ROUNDS[kind](seed)
            except Exception:
                failures += 1
                traceback.print_exc()
                print(f"failed: {command}", flush=True)  # noqa: T201 - a command
            told.cancel()
            faulthandler.cancel_dump_traceback_later()
            done[kind] += 1
        if settings.seed is not None or time.monotonic() - began >= settings.seconds:
            break
    counts = ", ".join(f"{count} of {kind}" for kind, count in done.items())
    print(f"rounds: {counts}; failed: {failures}")  # noqa: T201 - a command
    return failures


if __name__ == "__main__":
    sys.exit(min(main(), 1))
