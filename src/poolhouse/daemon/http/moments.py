"""Moments of the last hour, made from the fleet's timelines in steps of milliseconds."""

from poolhouse.daemon.part import Hub
from poolhouse.daemon.slices import Slices
from poolhouse.fleet.timelines import FLEET, STEP
from poolhouse.views.address import Place
from poolhouse.views.moment import moment_data, program_data
from poolhouse.views.sheet_data import compact


async def moment_text(hub: Hub, place: Place, wall_time: float) -> str | None:
    """The fleet and its programs, or one program, at a time, as JSON; ``None`` if that is not known.

    Args:
        hub: The daemon's hub.
        place: All programs, or one.
        wall_time: The time, in seconds since the epoch.
    """
    timelines, slices = hub.fleet.timelines, Slices(hub)
    found = timelines.sample_at(wall_time)
    if found is None:
        return None
    number, taken_at = found
    fleet = timelines.moment(FLEET, number)
    told = {"path": place.path, "at_seconds": taken_at, "step_seconds": STEP}
    keys = timelines.keys() if place.kind == "programs" else [("", place.program)]
    programs: list[str] = []
    for key in sorted(keys):
        moment = None if key == FLEET else timelines.moment(key, number)
        if moment is not None:
            programs.append(compact(program_data(key[1], moment)))
        await slices.pause()
    if place.kind == "programs":
        told |= {"fleet": None if fleet is None else moment_data(fleet)}
    elif not programs:
        return None
    return f'{compact(told)[:-1]},"programs":[{",".join(programs)}]}}\n'
