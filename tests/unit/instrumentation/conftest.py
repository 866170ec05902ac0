"""What the tests of the instrumentation share."""

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

import pytest
from sqlalchemy.engine import Engine


@pytest.fixture(autouse=True)
def _engines_are_disposed_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """CPython 3.13 warns of a connection of sqlite3 that is collected open, in whatever test that happens."""
    made: WeakSet[Engine] = WeakSet()
    begin = Engine.__init__

    def begin_and_note(engine: Engine, *arguments: Any, **more: Any) -> None:
        begin(engine, *arguments, **more)
        made.add(engine)

    monkeypatch.setattr(Engine, "__init__", begin_and_note)
    yield
    for engine in made:
        if not getattr(engine.dialect, "is_async", False):
            engine.dispose()
