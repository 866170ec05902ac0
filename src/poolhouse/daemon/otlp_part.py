"""The part of the daemon that pushes metrics to a collector, if this node is the one to do so."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import nullcontext
from logging import INFO, WARNING

from poolhouse.cluster.pusher import is_first_up
from poolhouse.configuration.otlp import OtlpTarget
from poolhouse.daemon.http.figures import START_TIME, VERSION, figures
from poolhouse.daemon.otlp_sender import Push, Result, prepare
from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices, batches
from poolhouse.export.otlp import Otlp
from poolhouse.feed.fleet_source import FleetSource
from poolhouse.fleet.account import NO_AMOUNT
from poolhouse.fleet.holders import Line
from poolhouse.shortage import words_of
from poolhouse.verdicts.verdict import Verdict

#: Seconds until the first push; by then programs have reported, and the nodes of a service have found each other.
FIRST_AFTER = 5.0
#: Seconds between two log lines about failed pushes.
SAID_PERIOD_S = 60.0
#: The longest time for which a push is attempted, in seconds.
MOST_TRYING_S = 30.0

#: Logs a sentence; takes level and text.
Say = Callable[[int, str], object]


class OtlpPart:
    """Pushes until it is detached."""

    def __init__(self, target: OtlpTarget | None, instance: str, host: str, say: Say) -> None:
        """Prepare.

        Args:
            target: The destination of metrics; ``None`` for none.
            instance: The unique identity of this daemon.
            host: This machine's name.
            say: Called with lines for the log.

        Raises:
            SettingError: If a certificate cannot be used.
        """
        self._instance = instance
        self._host = host
        self._say = say
        self._push: Push | None = None
        self._changed = asyncio.Event()
        self._said_at: float | None = None
        self._is_failing = self._was_rejected = False
        self._set(target, None if target is None else prepare(target))

    def set_target(self, target: OtlpTarget | None, context: ssl.SSLContext | None) -> None:
        """Push to this target from now on; `context` is what `prepare` returned."""
        if target != self._target:
            self._set(target, context)
            self._changed.set()

    def _set(self, target: OtlpTarget | None, context: ssl.SSLContext | None) -> None:
        self._context = context
        self._target = target
        if target is not None:
            own = {
                "service.name": target.service_name,
                "service.instance.id": self._instance,
                "host.name": self._host,
            }
            self._otlp = Otlp(VERSION, own, dict(target.attributes))

    def attach(self, hub: Hub) -> None:
        """Prepare to run."""
        self._hub = hub
        clock = hub.clock
        self._source = FleetSource(hub.fleet, clock, nullcontext())
        #: Converts the daemon's time to time of day; fixed, so that start times never move.
        self._epoch = clock.wall_time() - clock.monotonic()
        self._began = clock.monotonic()

    async def run(self) -> None:
        """Push until cancelled."""
        pause = FIRST_AFTER
        while True:
            target = self._target
            self._changed.clear()
            try:
                async with asyncio.timeout(None if target is None else min(pause, target.interval)):
                    await self._changed.wait()
            except TimeoutError:
                assert target is not None, "without a target the wait never ends"
                pause = target.interval
                try:
                    if is_first_up(self._hub.fleet.nodes(self._hub.clock.monotonic())):
                        await self._take_turn(target)
                except MemoryError as error:  # The next push contains everything that this one would have.
                    self._fail(target, words_of(error))
            else:
                pause = FIRST_AFTER

    def detach(self) -> None:
        """Stop pushing."""
        if self._push is not None:
            self._push.give_up()

    async def _take_turn(self, target: OtlpTarget) -> None:
        if self._push is not None:
            if self._push.result is None and self._push.is_running:
                self._push.give_up()
                self._fail(target, "the last push has not ended yet")
                return
            self._settle()
        pieces, loop = await self.pieces(), asyncio.get_running_loop()
        push = Push(
            target,
            self._context,
            pieces,
            min(MOST_TRYING_S, target.interval),
            lambda: loop.call_soon_threadsafe(self._settle),
        )
        try:
            push.start()
        except RuntimeError as error:  # The thread limit is reached.
            self._fail(target, words_of(error))
        else:
            self._push, self._pushed = push, self._otlp

    async def pieces(self) -> list[bytes]:
        """The whole content of a push, made in slices between which reports are read."""
        hub, fleet, otlp = self._hub, self._hub.fleet, self._otlp
        hub.read_reports()
        slices = Slices(hub)
        otlp.begin(round(hub.clock.wall_time() * 1e9))
        lines: dict[str, list[Line]] = {}
        for found in self._source.lines():
            for line in found or ():
                lines.setdefault(line.program, []).append(line)
            await slices.pause()
        rows = fleet.program_rows(hub.clock.monotonic())
        pieces: list[bytes] = []
        verdicts: dict[str, list[Verdict]] = {}
        for verdict in fleet.verdicts():
            verdicts.setdefault(verdict.program, []).append(verdict)
        for batch in batches(rows):
            for _, program, state in fleet.row_states(batch, hub.clock.monotonic()):
                # The other nodes may have counted their numbers since the service began.
                began = state.began if state.joined == NO_AMOUNT else min(state.began, fleet.since)
                start_ns = self._nanoseconds(began)
                found_here = lines.get(program, ()), verdicts.get(program, ())
                pieces.append(otlp.add(program, state.counted(), start_ns, *found_here))
            await slices.pause()
        own = figures(fleet.health(hub.clock.monotonic()), None, hub.refusals, hub.failed_pushes)
        start_ns = self._nanoseconds(self._began) if START_TIME is None else round(START_TIME * 1e9)
        for piece in otlp.end(own, start_ns):
            pieces.append(piece)
            await slices.pause()
        return pieces

    def _nanoseconds(self, moment: float) -> int:
        return round((moment + self._epoch) * 1e9)

    def _settle(self) -> None:
        """Handle the result of the last push, once."""
        push = self._push
        if push is None or (push.result is None and push.is_running):
            return
        self._push, target = None, push.target
        result = push.result or Result("there is no memory left")
        if result.failure is not None:
            self._pushed.failed()
            self._fail(target, result.failure)
            return
        self._pushed.delivered()
        if self._is_failing:
            self._is_failing, self._said_at = False, None
            self._say(INFO, f"metrics are pushed to {target.url} again")
        if (result.rejected or result.words) and not self._was_rejected:
            self._was_rejected = True
            what = (
                f"refused {result.rejected:,} points of metrics"
                if result.rejected
                else "took all metrics and warns"
            )
            words = f": {result.words!r}" if result.words else ""
            self._say(WARNING, f"{target.url} {what}{words}")

    def _fail(self, target: OtlpTarget, reason: str) -> None:
        hub = self._hub
        hub.failed_pushes += 1
        self._is_failing = True
        now = hub.clock.monotonic()
        if self._said_at is None or now - self._said_at >= SAID_PERIOD_S:
            self._said_at = now
            times = "once" if hub.failed_pushes == 1 else f"{hub.failed_pushes:,} times"
            self._say(WARNING, f"metrics are not pushed to {target.url}: {reason}; this has happened {times}")
