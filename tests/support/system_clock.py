"""A system clock that a test steps: the time of day that processes are told comes from libfaketime."""

import os
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

#: Of Debian's package libfaketime.
LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


class SystemClock(AbstractContextManager["SystemClock"]):
    """The time of day of all commands that are started with `prefix`; their monotonic clock is the machine's.

    Attributes:
        prefix: What stands before a command.
    """

    def __init__(self) -> None:
        assert os.path.exists(LIBRARY), "no clock to step: install libfaketime"
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name) / "clock"
        self.step(0)
        self.prefix = (
            "env",
            f"LD_PRELOAD={LIBRARY}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_NO_CACHE=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
        )

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def step(self, seconds: int) -> None:
        """Set it to so many seconds ahead of the machine's clock."""
        new = self._file.with_name("new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)
