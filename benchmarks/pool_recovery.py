"""How clients fare when a real PostgreSQL loses its sessions or restarts: `python benchmarks/pool_recovery.py`.

Pools that look before they serve, each its own way, take turns on one server; figures are medians of the rounds.
Prints a Markdown table. `benchmarks/pool_postgres.py` has the long outage and the server that never answers.
"""

import logging
import platform
import statistics
import time
import warnings
from typing import NamedTuple

import psycopg
import psycopg_pool
from pool_postgres import CLIENTS, RESTART, away, kill_backends, pools

from support.pool_load import ThreadLoad
from support.postgres import postgres_server

ROUNDS = 3
BLOWS = {"all sessions killed": kill_backends, f"restart, {RESTART} s down": away(RESTART)}


class Outcome(NamedTuple):
    """What became of one pool's clients in one round; times in milliseconds.

    Attributes:
        failed: Requests that failed.
        worst: The longest request.
        first: From the server's return to the first answer after it.
    """

    failed: float
    worst: float
    first: float


def main() -> None:
    """Print the table."""
    logging.disable()
    warnings.simplefilter("ignore")
    print(
        f"{CLIENTS} threads on 4 connections, medians of {ROUNDS} rounds; CPython {platform.python_version()}, ",
        end="",
    )
    print(f"psycopg {psycopg.__version__}, psycopg_pool {psycopg_pool.__version__}\n")
    print("| the server | pool | failed requests | worst request | first answer after it is up |")
    print("|---|---|---:|---:|---:|")
    with postgres_server() as server:
        for blow, strike in BLOWS.items():
            outcomes: dict[str, list[Outcome]] = {name: [] for name in pools(server)}
            for _ in range(ROUNDS):
                for name, make in pools(server).items():
                    with ThreadLoad(make(), CLIENTS, failures=Exception) as load:
                        load.wait_for_answers()
                        struck_at = time.monotonic()
                        up_at = strike(server)
                        load.wait_for_answers(since=max(struck_at, up_at))
                    answers = [request.ended_at for request in load.requests if not request.error]
                    outcomes[name].append(
                        Outcome(
                            failed=len(load.failed()),
                            worst=max(request.ended_at - request.asked_at for request in load.requests) * 1000,
                            first=(min(ended for ended in answers if ended > up_at) - up_at) * 1000,
                        )
                    )
            for name, rounds in outcomes.items():
                failed, worst, first = map(statistics.median, zip(*rounds, strict=True))
                print(f"| {blow} | {name} | {failed:.0f} | {worst:.0f} ms | {first:.0f} ms |", flush=True)


if __name__ == "__main__":
    main()
