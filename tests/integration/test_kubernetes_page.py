"""The how-to page for Kubernetes: its programs answer probes as it says."""

import io
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from poolhouse.report import reporter
from support.pages import ROOT, under
from support.unread import Stream

PAGE = ROOT / "docs" / "howto" / "kubernetes.md"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for ``shop.db``, and no reports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reporter, "stream", lambda destination: Stream())
    return tmp_path


def run_block(heading: str) -> dict[str, Any]:
    (block,) = under(PAGE, heading, "python")
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(block, str(PAGE), "exec"), names)
    return names


def test_the_first_example_prints_what_the_page_says() -> None:
    output = io.StringIO()
    with redirect_stdout(output):
        run_block("What a pool answers")
    (said,) = re.findall(r"This prints `(.*?)`", PAGE.read_text())
    assert output.getvalue() == f"{said}\n"


def ask_asgi(app: FastAPI) -> tuple[int, bytes]:
    """The answer of ``/readyz``, without a server."""
    import asyncio

    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/readyz", "headers": [], "query_string": b""}
    scope |= {"http_version": "1.1", "scheme": "http", "server": ("shop", 80), "client": ("kubelet", 1)}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize("framework", ["FastAPI", "Flask"])
def test_a_program_is_unready_while_its_database_is_away(framework: str, folder: Path) -> None:
    names = run_block(framework)

    def ask() -> tuple[int, bytes]:
        if framework == "FastAPI":
            return ask_asgi(names["app"])
        answer = names["app"].test_client().get("/readyz")
        return answer.status_code, answer.get_data()

    status, body = ask()
    assert status == 200, body
    assert b'"ready"' in body
    engine = names["engine"]
    engine.connect().close()
    engine.dispose()
    (folder / "shop.db").unlink()
    (folder / "shop.db").mkdir()
    with pytest.raises(Exception, match="unable to open database file"):
        engine.connect()
    status, body = ask()
    assert status == 503
    assert b"no connection could be made for " in body
    shutil.rmtree(folder / "shop.db")
    engine.connect().close()
    assert ask()[0] == 200
    engine.dispose()
