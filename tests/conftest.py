"""What every test stands on."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples in every run: a failing one is a fact, not luck. `make test` takes four times as many.
settings.register_profile(
    "poolhouse",
    max_examples=int(os.environ.get("POOLHOUSE_EXAMPLES", "25")),
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
)
settings.load_profile("poolhouse")

# A shell has its background jobs ignore Ctrl-C, and so would every program that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# And nohup has every program ignore a hangup.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="module", autouse=True)
def _collections_pass_over_what_was_there() -> None:
    """Tests collect garbage thousands of times; libraries that are loaded already are not searched each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def unread_log() -> Iterator[None]:
    """Nothing is logged: pytest formats every record twice, and each traceback in it."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def busy_switching() -> Iterator[None]:
    """Threads lose the GIL as often as the interpreter allows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


# Programs, not tests: for the type checkers, and for `make stress`.
collect_ignore = ["typing", "stress"]
