"""What the options of our pools cost a checkout that need not wait: `python benchmarks/pool_options.py`.

As `benchmarks/pool.py`, over connections that do nothing, with callbacks and hooks that do nothing either: what is
left is the pool's part. psycopg_pool stands beside each option that it has, too.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import _peers as peers
from _measuring import (
    begin,
    blocks,
    blocks_of_tasks,
    in_turns,
    in_turns_of_tasks,
    pairs,
    pairs_of_tasks,
    ratio,
    show_costs,
    show_table,
)

from poolhouse.pool import PoolHooks

ROUNDS = 15
CYCLES = 20_480
#: A reset is a worker's, and a thread is started for a check that has little time: they cost far more.
FEWER = {"reset": 4_096, "check, a timeout of 2 s": 512}
CONNECTIONS = 4
PLAIN = "nothing"


def _ignore(*_: object) -> None:
    """A callback, or a hook, that does nothing."""


async def _ignore_in_a_task(conn: object) -> None:
    """The same for asyncio."""


def _options(callback: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """What is switched on in our pool, by what it is called in the tables."""
    return {
        PLAIN: {},
        "hold_warning": {"hold_warning": 5.0},
        "both hooks": {"hooks": PoolHooks(acquired=_ignore, released=_ignore)},
        "check": {"check": callback},
        "check, a timeout of 2 s": {"check": callback, "timeout": 2.0},
        "reset": {"reset": callback},
    }


def _their_options(callback: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """The same for psycopg_pool, by the names of ours."""
    ours = _options(callback)
    return {name: ours[name] for name in (PLAIN, "check", "reset")}


def _cycles(name: str) -> int:
    return FEWER.get(name.removeprefix("psycopg_pool: "), CYCLES)


def of_threads() -> None:
    """Take and give back in one thread."""
    compared = {name: peers.ours(CONNECTIONS, **more) for name, more in _options(_ignore).items()}
    for name, more in _their_options(_ignore).items():
        compared[f"psycopg_pool: {name}"] = peers.psycopg_pools(CONNECTIONS, **more)

    of_pairs = {name: pairs(peer.getconn, peer.putconn, _cycles(name)) for name, peer in compared.items()}
    _show("getconn + putconn", in_turns(of_pairs, ROUNDS))
    of_blocks = {name: blocks(peer.pool, _cycles(name)) for name, peer in compared.items()}
    _show("with pool.connection()", in_turns(of_blocks, ROUNDS))
    for peer in compared.values():
        peer.close()


async def of_tasks() -> None:
    """Take and give back in one task."""
    compared = {
        name: await peers.ours_of_tasks(CONNECTIONS, **more) for name, more in _options(_ignore_in_a_task).items()
    }
    for name, more in _their_options(_ignore_in_a_task).items():
        compared[f"psycopg_pool: {name}"] = await peers.psycopg_pools_of_tasks(CONNECTIONS, **more)

    of_pairs = {name: pairs_of_tasks(peer.getconn, peer.putconn, _cycles(name)) for name, peer in compared.items()}
    _show("asyncio: getconn + putconn", await in_turns_of_tasks(of_pairs, ROUNDS))
    of_blocks = {name: blocks_of_tasks(peer.pool, _cycles(name)) for name, peer in compared.items()}
    _show("asyncio: async with pool.connection()", await in_turns_of_tasks(of_blocks, ROUNDS))
    for peer in compared.values():
        await peer.close()


def _show(title: str, figures: Any) -> None:
    """The costs, and what each option is to be measured by."""
    show_costs(title, figures)
    rows = []
    for name in ("check", "reset"):
        both = {"theirs": figures[f"psycopg_pool: {name}"], "ours": figures[name]}
        rows.append([name, *(f"{ratio(both, 'ours', column):.2f} ×" for column in (0, 1))])
    show_table(["ours beside psycopg_pool's", "CPU time", "wall time"], rows)


def main() -> None:
    """Print all tables."""
    begin("psycopg_pool")
    of_threads()
    asyncio.run(of_tasks())


if __name__ == "__main__":
    main()
