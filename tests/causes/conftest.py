"""One stage for all tests of this folder that are to run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.stage import Part, Stage


@pytest.fixture(scope="session")
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All the parts that the chosen tests name, started together."""
    parts: dict[str, Part] = {}
    # Healthy programs, whose tests come last, are watched for longest and begin first.
    for item in reversed(request.session.items):
        for value in getattr(getattr(item, "callspec", None), "params", {}).values():
            for part in getattr(value, "parts", ()):
                parts[part.name] = part
    folder: Path = tmp_path_factory.mktemp("stage")
    with Stage(list(parts.values()), folder) as opened:
        yield opened
