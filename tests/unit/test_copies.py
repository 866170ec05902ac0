"""What is read in one step, however the garbage collector changes it meanwhile."""

import ast
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from poolhouse.copies import copy_of
from support.collecting import collected_meanwhile

SOURCE = Path(__file__).parents[2] / "src" / "poolhouse"
#: The packages that measure in the application's process, and what there is private to one thread, or has a lock.
MEASURING = ("instrumentation", "meter", "otel", "pool", "prometheus", "report", "sites")
PRIVATE = {
    "instrumentation/psycopg_pool.py: self._sums.copy()",
    "otel/instruments.py: list(self._queues.items())",
}

#: What is in each container before the collector runs, and what is left of it after.
FULL, LEFT = set(range(40)), set(range(20))


class Remover:
    """Takes half of the items out of a container when it is collected."""

    def __init__(self, remove: Callable[[], object]) -> None:
        self.remove, self.cycle = remove, self

    def __del__(self) -> None:
        for _ in range(20):
            self.remove()


def always_one_moment(shared: Any, fill: Callable[[], object], remove: Callable[[], object], read: Any) -> None:
    def leave_garbage() -> None:
        shared.clear()
        fill()
        Remover(remove)

    found = [set(read(shared)) for _ in collected_meanwhile(leave_garbage, lambda: None)]
    found += list(collected_meanwhile(leave_garbage, lambda: set(read(shared))))
    assert all(each in (FULL, LEFT) for each in found)


@pytest.mark.parametrize(
    "read",
    [
        copy_of,
        lambda shared: copy_of(shared).values(),
        lambda shared: [key for key, value in copy_of(shared).items() if key == value],
        list,
        lambda shared: list(shared.values()),
        lambda shared: (*shared.values(),),
    ],
    ids=["keys of a copy", "values of a copy", "items of a copy", "keys", "values", "values in a display"],
)
def test_a_dictionary_is_read_as_it_was_at_one_moment(read: Callable[[dict[int, int]], Iterable[int]]) -> None:
    shared: dict[int, int] = {}
    always_one_moment(shared, lambda: shared.update(zip(range(40), range(40), strict=True)), shared.popitem, read)


@pytest.mark.parametrize("read", [list, lambda shared: [*shared]], ids=["list", "display"])
def test_a_list_is_read_as_it_was_at_one_moment(read: Callable[[list[int]], Iterable[int]]) -> None:
    shared: list[int] = []
    always_one_moment(shared, lambda: shared.extend(range(40)), shared.pop, read)


def test_a_set_and_a_deque_are_copied_as_they_were_at_one_moment() -> None:
    numbers: set[int] = set()
    always_one_moment(numbers, lambda: numbers.update(range(40)), lambda: numbers.remove(max(numbers)), set.copy)
    queue: deque[int] = deque()
    always_one_moment(queue, lambda: queue.extend(range(40)), queue.pop, deque.copy)


def copies(module: Path) -> Iterator[str]:
    """The copies of the module's dictionaries and lists that take more than one step."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    kinds = {
        ast.unparse(node.target): ast.unparse(node.annotation).strip("\"'").partition("[")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(ast.Attribute(of, "copy")) if kinds.get(ast.unparse(of)) in ("dict", "list"):
                yield ast.unparse(node)
            case ast.Call(ast.Name("list"), [ast.Call(ast.Attribute(of, "items"))]) if ast.unparse(of) in kinds:
                yield ast.unparse(node)


def test_what_is_shared_is_not_copied_in_more_steps_than_one() -> None:
    found = {
        f"{path.relative_to(SOURCE).as_posix()}: {copy}"
        for package in MEASURING
        for path in (SOURCE / package).rglob("*.py")
        for copy in copies(path)
    }
    assert found == PRIVATE
