"""Samples of the last hour, taken in steps of a few milliseconds between other work."""

import asyncio

from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices, batches
from poolhouse.fleet.timelines import FLEET, STEP

#: Seconds between two looks at the largest sums, which each row keeps for one or two of its report intervals.
LOOK = 2.0


async def keep_history(hub: Hub) -> None:
    """Sample the fleet and its programs until cancelled."""
    due = hub.clock.monotonic()
    while True:
        now = hub.clock.monotonic()
        is_sample = now >= due
        if is_sample:
            # After a suspension of the machine, missed samples stay missed.
            due = max(due + STEP, now + STEP / 2)
        await look(hub, is_sample=is_sample)
        await asyncio.sleep(LOOK)


async def look(hub: Hub, *, is_sample: bool) -> None:
    """Examine every row once, and take a sample if one is due."""
    slices, timelines = Slices(hub), hub.fleet.timelines
    hub.read_reports()
    overview = hub.fleet.overview(hub.clock.monotonic())
    if is_sample:
        timelines.begin(hub.clock.wall_time())
    take = timelines.record if is_sample else timelines.watch
    take(FLEET, overview.fleet)
    for batch in batches(overview.programs):
        for _, program, state in hub.fleet.row_states(batch, hub.clock.monotonic()):
            take(("", program), state)
            await slices.pause()
