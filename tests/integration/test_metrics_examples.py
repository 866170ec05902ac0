"""The applications that tell Prometheus about their pools themselves, scraped."""

import re
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.pages import ROOT, Reader
from support.postgres import Postgres, postgres_server
from support.waiting import wait_until

EXAMPLES = ROOT / "examples"


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the examples in their folder, and no daemon."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    with Reader(tmp_path) as somebody:
        yield somebody


@pytest.fixture
def postgres_here(reader: Reader) -> Iterator[Postgres]:
    with reader.network.entered(), postgres_server() as server:
        yield server


def command(example: str, word: str) -> str:
    """The command that an example's docstring says it is run by."""
    return re.findall(rf"^    ({word} .*)$", (EXAMPLES / example).read_text(), re.MULTILINE)[0]


def answer(path: str) -> str:
    """What the server says; empty while it starts."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:8000{path}", timeout=30) as answered:
        return str(answered.read().decode())
    return ""


def numbers(pool: str) -> dict[str, float]:
    """The metrics of connection pools, but for buckets and states."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(answer("/metrics"))
        for sample in family.samples
        if sample.labels == {"db_client_connection_pool_name": pool}
    }


def test_fastapi_tells_its_pool(reader: Reader) -> None:
    reader.start(f"python -W error -m {command('metrics_fastapi.py', 'uvicorn')}")
    with reader.network.entered():
        wait_until(lambda: answer("/order"), what="the application")
        for _ in range(4):
            answer("/order")
        wait_until(
            lambda: numbers("shop.db").get("db_client_connection_wait_time_seconds_count") == 5, what="5 waits"
        )
        assert numbers("shop.db")["db_client_connection_max"] == 4
        assert "python_info" in answer("/metrics")


def test_django_tells_the_pool_of_psycopg(reader: Reader, postgres_here: Postgres) -> None:
    shown = command("metrics_django.py", "gunicorn")
    reader.start(f"env DATABASE='{postgres_here.conninfo}' {shown} --no-control-socket")
    with reader.network.entered():
        wait_until(lambda: answer("/order"), what="the site", timeout=60)
        for _ in range(4):
            answer("/order")

        def found() -> dict[str, float]:
            told = re.findall(r'pool_name="([^"]+)"', answer("/metrics"))
            return numbers(told[0]) if told else {}

        wait_until(lambda: found().get("db_client_connection_wait_time_seconds_count", 0) >= 5, what="5 waits")
        assert found()["db_client_connection_max"] == 4
