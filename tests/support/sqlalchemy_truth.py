"""SQLAlchemy engines whose true number of open connections is known from the driver itself."""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from poolhouse.instrumentation.engines import root_engine
from poolhouse.instrumentation.watch import watch
from poolhouse.meter.reading import PoolReading
from poolhouse.report.source import Source


class Truth:
    """Counts connections of sqlite3 as they open, are closed, and are collected without being closed."""

    def __init__(self) -> None:
        self.opened = 0
        self.ended = 0
        self.refuses = False
        truth = self

        class Connection(sqlite3.Connection):
            __slots__ = ("_is_open",)  # Like sqlite3's own, it cannot be referred to weakly.

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                self._is_open = False
                if truth.refuses:
                    raise sqlite3.OperationalError("refused")
                super().__init__(*args, **kwargs)
                self._is_open = True
                truth.opened += 1

            def close(self) -> None:
                self._end()
                super().close()

            def __del__(self) -> None:
                if self._is_open:
                    self._end()
                    super().close()

            def _end(self) -> None:
                if self._is_open:
                    self._is_open = False
                    truth.ended += 1

        self.connect_args = {"factory": Connection, "check_same_thread": False}

    @property
    def open(self) -> int:
        return self.opened - self.ended

    @contextmanager
    def down(self) -> Iterator[None]:
        """Refuse connections meanwhile."""
        self.refuses = True
        try:
            yield
        finally:
            self.refuses = False


class FakeStream:
    """A stream that keeps what is added to it, each source once, as the real one does."""

    def __init__(self) -> None:
        self.sources: list[Source] = []

    def add(self, source: Source) -> None:
        if source not in self.sources:
            self.sources.append(source)

    def expect(self, source: Source) -> None:
        """It is there when it is added."""


class Measured:
    """An engine that is measured, and the truth about it."""

    def __init__(self, engine: Any = None, url: str = "sqlite://", **options: Any) -> None:
        self.truth = Truth()
        self.stream = FakeStream()
        self._numbers = itertools.count(1)
        make = create_engine if engine is None else engine
        self.engine: Any = make(url, connect_args=self.truth.connect_args, **options)
        watch(self.sync_engine, self.stream)

    @property
    def sync_engine(self) -> Engine:
        return root_engine(self.engine)

    def read(self) -> PoolReading:
        """The pool's next reading; an untouched pool's is empty."""
        if not self.stream.sources:
            return PoolReading(0, "", "")
        (source,) = self.stream.sources
        return source.read(next(self._numbers))
