"""A Python program that does what a test tells it, a statement at a time."""

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from textwrap import dedent
from typing import Any

from support.programs import finish, start

_PROGRAM = """
    import json, sys
    def _answer(line, names={}):
        kind, text = json.loads(line)
        try:
            value = eval(text, names) if kind == "ask" else exec(text, names)
        except Exception as error:
            value = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(value), flush=True)
    for _line in sys.stdin:
        _answer(_line)
"""


class Session(AbstractContextManager["Session"]):
    """Runs until the context is left, and then must have ended well and complained of nothing."""

    def __init__(
        self, setup: str = "", env: Mapping[str, str] | None = None, *, has_libraries: bool = False
    ) -> None:
        self.process = start(_PROGRAM, env=env, has_libraries=has_libraries)
        self.do(setup)

    def do(self, code: str) -> None:
        """Execute these lines; an exception in them fails the test."""
        answer = self._tell("do", dedent(code))
        assert answer is None, answer

    def ask(self, expression: str) -> Any:
        """What an expression is, as JSON has it."""
        return self._tell("ask", expression)

    def end(self) -> None:
        """Let it come to its end."""
        finish(self.process)

    def end_complaining(self) -> str:
        """Let it come to its end; what it wrote to its error output."""
        _, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return errors

    def _tell(self, kind: str, text: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps((kind, text)) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.process.poll() is not None:
            return
        if kind is None:
            self.end()
        else:
            self.process.kill()
            self.process.communicate()
