"""Threads or memory are exhausted where connmond pushes metrics, in virtual time but for the push's own thread.

The log has one line, failed pushes are counted, and metrics are pushed again when the shortage is over.
"""

import asyncio
import threading
from typing import Any

import pytest

from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.daemon import otlp_part, otlp_sender
from poolhouse.daemon.otlp_part import OtlpPart
from poolhouse.daemon.otlp_sender import Push, Result
from poolhouse.daemon.server import Daemon
from poolhouse.export.otlp import Otlp
from poolhouse.testing.clock import VirtualClock
from poolhouse.testing.loop import run
from support.exhausted import OF_MEMORY, OF_THREADS, Calls, Exhausted, each, words

TARGET = OtlpTarget("http://collector.test:4318/v1/metrics", interval=1.0)

#: Calls with which metrics are pushed, and what they can raise.
PUSHES: Calls = [
    (otlp_part, "is_first_up", OF_MEMORY),
    (Otlp, "begin", OF_MEMORY),
    (Otlp, "end", OF_MEMORY),
    (otlp_sender, "Thread", OF_MEMORY),
    (threading.Thread, "start", OF_THREADS | OF_MEMORY),
    (Push, "_send_all", OF_MEMORY),
    (otlp_sender, "Result", OF_MEMORY),
]


@pytest.mark.parametrize(
    ("owner", "name", "error"),
    each(PUSHES),
)
def test_metrics_are_pushed_again_when_the_shortage_is_over(monkeypatch, owner, name, error):
    clock = VirtualClock()
    said: list[str] = []
    sent: list[float] = []

    def send_all(push: Push) -> Result:
        sent.append(clock.monotonic())
        return otlp_sender.Result(None)

    monkeypatch.setattr(Push, "_send_all", send_all)

    async def scenario() -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        part = OtlpPart(TARGET, "instance", "host", lambda _, sentence: said.append(sentence))
        end = asyncio.Event()
        daemon = asyncio.create_task(Daemon([part], clock=clock).run(end))

        async def turns(count: int) -> None:
            """So many pushes; each has ended before the next."""
            for _ in range(count):
                await asyncio.sleep(TARGET.interval)
                for thread in threading.enumerate():
                    if thread.name == "otlp":
                        thread.join(60)

        with Exhausted(owner, name, error) as exhausted:
            await turns(5)
        assert exhausted.calls >= 4
        assert sent == [] or name == "Result"
        assert said == [
            f"metrics are not pushed to {TARGET.url}: {words(error)}; this has happened once",
        ]
        before = len(sent)
        await turns(3)
        assert len(sent) >= before + 2
        assert said[1:] == [f"metrics are pushed to {TARGET.url} again"]
        assert failed == []
        end.set()
        await daemon

    run(scenario(), clock)
