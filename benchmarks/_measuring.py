"""How the benchmarks of the pools measure: everybody in turns, medians, CPU time beside wall time."""

import gc
import logging
import platform
import statistics
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Self

#: The first row, of which all others are multiples.
OURS = "poolhouse"


class Cost(NamedTuple):
    """What one cycle costs, in nanoseconds: CPU time of the whole process, and time on the wall."""

    cpu: float
    wall: float


class Stopwatch:
    """``with Stopwatch(cycles) as watch: …`` around the loop, then ``watch.cost``.

    The loop stands in the block itself: to call a cycle would be a tenth of what is measured.
    """

    def __init__(self, cycles: int) -> None:
        self._cycles = cycles
        self.cost: Cost

    def __enter__(self) -> Self:
        gc.collect()
        self._began = time.process_time_ns(), time.perf_counter_ns()
        return self

    def __exit__(self, *_: object) -> None:
        cpu, wall = time.process_time_ns(), time.perf_counter_ns()
        self.cost = Cost((cpu - self._began[0]) / self._cycles, (wall - self._began[1]) / self._cycles)


def pairs(get: Callable[[], Any], put: Callable[[Any], object], cycles: int) -> Callable[[], Cost]:
    """A run that takes a connection and gives it back, again and again."""

    def run() -> Cost:
        with Stopwatch(cycles) as watch:
            for _ in range(cycles):
                put(get())
        return watch.cost

    return run


def blocks(pool: Any, cycles: int) -> Callable[[], Cost]:
    """The same by `with pool.connection()`."""

    def run() -> Cost:
        with Stopwatch(cycles) as watch:
            for _ in range(cycles):
                with pool.connection():
                    pass
        return watch.cost

    return run


def pairs_of_tasks(
    get: Callable[[], Awaitable[Any]], put: Callable[[Any], Awaitable[object]], cycles: int
) -> Callable[[], Awaitable[Cost]]:
    """`pairs` in a task."""

    async def run() -> Cost:
        with Stopwatch(cycles) as watch:
            for _ in range(cycles):
                await put(await get())
        return watch.cost

    return run


def blocks_of_tasks(pool: Any, cycles: int) -> Callable[[], Awaitable[Cost]]:
    """`blocks` in a task."""

    async def run() -> Cost:
        with Stopwatch(cycles) as watch:
            for _ in range(cycles):
                async with pool.connection():
                    pass
        return watch.cost

    return run


def rotated(names: Iterable[str], turn: int) -> list[str]:
    """The names, another one first in each turn: what comes first may be the slower for it."""
    names = list(names)
    begin = turn % len(names)
    return names[begin:] + names[:begin]


Figures = dict[str, list[tuple[float, ...]]]


def in_turns(runs: Mapping[str, Callable[[], tuple[float, ...]]], rounds: int) -> Figures:
    """The figures of each run in each round; in every round each has its turn."""
    figures: Figures = {name: [] for name in runs}
    for turn in range(rounds):
        for name in rotated(runs, turn):
            figures[name].append(runs[name]())
    return figures


async def in_turns_of_tasks(
    runs: Mapping[str, Callable[[], Awaitable[tuple[float, ...]]]], rounds: int
) -> Figures:
    """The same of runs to be awaited."""
    figures: Figures = {name: [] for name in runs}
    for turn in range(rounds):
        for name in rotated(runs, turn):
            figures[name].append(await runs[name]())
    return figures


def medians(rounds: list[tuple[float, ...]]) -> list[float]:
    """The median of each figure over the rounds."""
    return [statistics.median(values) for values in zip(*rounds, strict=True)]


def ratio(figures: Figures, name: str, column: int) -> float:
    """How many times the first one's a figure is: the median over the rounds, each compared in itself."""
    first = next(iter(figures.values()))
    return statistics.median(mine[column] / its[column] for mine, its in zip(figures[name], first, strict=True))


def show_costs(title: str, figures: Figures) -> None:
    """Print costs a cycle, and each as a multiple of the first."""
    rows = []
    for name, rounds in figures.items():
        cpu, wall = (nanoseconds / 1000 for nanoseconds in medians(rounds))
        rows.append(
            [
                name,
                f"{cpu:.2f} µs",
                f"{ratio(figures, name, 0):.2f} ×",
                f"{wall:.2f} µs",
                f"{ratio(figures, name, 1):.2f} ×",
            ]
        )
    show_table([title, "CPU time", "", "wall time", ""], rows)


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table that can be read as it is; all columns but the first are numbers."""
    widths = [max(3, *(len(row[column]) for row in [head, *rows])) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return f"| {' | '.join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    print("\n".join([line(head), line(rule), *map(line, rows), ""]), flush=True)


def together(count: int, client: Callable[[int], object]) -> None:
    """Run so many threads to their end, each with its number."""
    clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()


def begin(*peers: str) -> None:
    """Quieten whoever would log into the tables; print what is compared."""
    logging.disable()
    warnings.simplefilter("ignore")
    print(", ".join([f"CPython {platform.python_version()}", *(f"{peer} {version(peer)}" for peer in peers)]))
    print("× is a multiple of the first row's: more than 1 is more than ours.\n", flush=True)
