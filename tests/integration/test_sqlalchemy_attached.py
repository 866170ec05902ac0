"""Programs with engines of SQLAlchemy that know nothing of poolhouse: seen, each engine once, by its name."""

import os
import signal
import subprocess
from pathlib import Path
from textwrap import dedent

from support.attached import COMMANDS, PYTHON, SHOP, Case, expected, plain_environment, run_all, write

#: Warnings are errors, except those of connections that a program leaves open as it ends.
STRICT = (PYTHON, "-W", "error", "-W", "ignore::ResourceWarning")

#: Starts a program of Python in which the engine is.
CHILD = """
    import subprocess, sys
    subprocess.run([sys.executable, "shop.py"], check=True)
"""

#: Has an engine itself, and a child of multiprocessing's that has another.
SPAWN = """
    import multiprocessing, runpy, sys

    def sell():
        runpy.run_path("shop.py")

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        runpy.run_path("shop.py")
        child = multiprocessing.Process(target=sell)
        child.start()
        child.join()
"""

#: Every way to make an engine.
WAYS = """
    import asyncio, warnings
    import sqlalchemy
    from sqlalchemy import create_engine, engine_from_config, text
    from sqlalchemy.ext.asyncio import create_async_engine

    one = create_engine("sqlite:///one.db")
    two = engine_from_config({"sqlalchemy.url": "sqlite:///two.db"})
    never = create_engine("sqlite:///never.db")
    shared = create_engine("sqlite:///shared.db", pool=one.pool)
    disposed = create_engine("sqlite:///disposed.db")
    disposed.dispose()
    for engine in (one, two, shared, disposed, one.execution_options(logging_token="x")):
        engine.connect().close()

    async def main():
        engine = create_async_engine("sqlite+aiosqlite:///three.db")
        async with engine.connect() as connection:
            await connection.execute(text("select 1"))
        await engine.dispose()

    asyncio.run(main())
    print("sold")
"""

#: What the application says itself counts.
EXPLICIT = """
    import sqlalchemy, poolhouse, os
    url = os.environ["POOLHOUSE_REPORT"].partition("?")[0]
    port = url.rpartition(":")[2].strip("/")
    here = sqlalchemy.create_engine(f"sqlite:///a.db?plugin=collectd&collectd_program_name=by-plugin")
    there = sqlalchemy.create_engine("sqlite:///b.db")
    poolhouse.instrument(there, program_name="by-function")
    rest = sqlalchemy.create_engine("sqlite:///c.db")
    for engine in (here, there, rest):
        engine.connect().close()
    print("sold")
"""

#: An engine in the hands of a program that raises while it is imported.
RAISES = """
    import sqlalchemy
    sqlalchemy.create_engine("sqlite:///shop.db").connect().close()
    raise ValueError("a mistake of the application")
"""

NO_DATABASE = """
    import sys, json, logging, threading
    print([name for name in sys.modules if name.partition(".")[0] == "poolhouse"])
    import sqlalchemy
    print([name for name in sys.modules if name.partition(".")[0] == "poolhouse"])
"""

LATE = """
    from sqlalchemy import create_engine
    used = create_engine("sqlite:///used.db")
    held = used.connect()
    unused = create_engine("sqlite:///unused.db")
    import poolhouse.auto
    held.close()
    unused.connect().close()
    used.connect().close()
    create_engine("sqlite:///new.db").connect().close()
    print("sold")
"""


def test_every_engine_is_seen_in_whatever_way_its_python_was_started(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", __init__="", __main__=SHOP)
    (tmp_path / "company").mkdir()
    write(tmp_path / "company", sitecustomize="import sys; sys.company = 'acme'")
    (tmp_path / "broken").mkdir()
    write(tmp_path / "broken", sitecustomize="1 / 0")
    write(tmp_path, shop=SHOP, child=CHILD, spawn=SPAWN, ways=WAYS, raises=RAISES, explicit=EXPLICIT)
    write(tmp_path, company=f"import sys; assert sys.company == 'acme'\n{SHOP.lstrip()}".replace("\n    ", "\n"))
    write(tmp_path, no_database=NO_DATABASE, late=LATE)
    (tmp_path / "isolated").write_text(f"#!{PYTHON} -Es\n{dedent(SHOP)}")
    (tmp_path / "isolated").chmod(0o755)
    in_company = {"PYTHONPATH": str(tmp_path / "company")}
    cases = {
        "script": Case([*STRICT, "shop.py"]),
        "module": Case([PYTHON, "-m", "package"]),
        "no-user-site": Case([PYTHON, "-s", "shop.py"]),
        "safe-path": Case([PYTHON, "-P", "shop.py"]),
        "child": Case([PYTHON, "child.py"]),
        "shell": Case(["sh", "-c", f"{PYTHON} shop.py"]),
        "fork": Case([PYTHON, "spawn.py", "fork"], [2, 2], "sold\nsold\n"),
        "spawn": Case([PYTHON, "spawn.py", "spawn"], [2, 2], "sold\nsold\n"),
        "forkserver": Case([PYTHON, "spawn.py", "forkserver"], [2, 2], "sold\nsold\n"),
        "ways": Case([*STRICT, "ways.py"], [3, 1, 1, 1]),
        "explicit": Case([PYTHON, "explicit.py"], [1]),
        "raises": Case([PYTHON, "raises.py"], [1], "", "ValueError: a mistake of the application", 1),
        "sitecustomize": Case([PYTHON, "company.py"], variables=in_company),
        "broken": Case(
            [PYTHON, "shop.py"],
            errors="Error in sitecustomize; set PYTHONVERBOSE for traceback:\nZeroDivisionError",
            variables={"PYTHONPATH": str(tmp_path / "broken")},
        ),
        "no-database": Case([PYTHON, "no_database.py"], [], "[]\n[]\n"),
        "disabled": Case([PYTHON, "shop.py"], [], variables={"POOLHOUSE_DISABLE": "1"}),
        "disabled-late": Case([PYTHON, "late.py"], [], launcher=[], variables={"POOLHOUSE_DISABLE": "1"}),
        "no-site": Case([PYTHON, "-S", "-c", "print('sold')"], [], errors="only import poolhouse.auto"),
        "isolated": Case([PYTHON, "-I", "shop.py"], [], errors="only poolhouse attach --install gets in there"),
        "isolated-script": Case(
            [str(tmp_path / "isolated")], [], errors="only poolhouse attach --install gets in"
        ),
        "not-python": Case(["echo", "sold"], []),
        "late": Case([*STRICT, "late.py"], [1, 1, 1], launcher=[]),
    }
    found = run_all(cases, tmp_path)
    assert found.pop("by-plugin") == [1]
    assert found.pop("by-function") == [1]
    assert found == expected(cases)


#: What a program finds as it starts.
FOUND = """
    import os, signal, sys
    print(os.getppid(), sys.argv, [path for path in sys.path if "poolhouse" in path and "bootstrap" in path])
    print([one for one in sorted(signal.valid_signals()) if signal.getsignal(one) is signal.SIG_IGN])
    print(sys.stdin.read(), sorted(os.listdir("/proc/self/fd")), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
"""


def test_the_command_finds_everything_as_without_us_and_is_the_process_that_was_started(tmp_path: Path) -> None:
    write(tmp_path, found=FOUND)

    def told(*launcher: str) -> tuple[int, bytes, bytes]:
        process = subprocess.Popen(
            [*launcher, PYTHON, "found.py", "--", "-x", ""],
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        output, errors = process.communicate(b"input", timeout=60)
        return process.returncode, output, errors

    bare = told()
    assert bare[0] == -signal.SIGTERM
    assert b"SIGINT" in bare[1]
    assert told(str(COMMANDS / "poolhouse"), "run") == bare


def test_a_command_that_cannot_begin_is_a_sentence_and_a_file_without_an_interpreter_is_the_shells(
    tmp_path: Path,
) -> None:
    files = {
        "start-shop": b'echo "$0" "$@"; exit 7\n',
        "empty": b"",
        "binary": b"\x7fELF\0",
        "stale": b"#!/no/such/python\n",
        "windows": b"#!/bin/sh\r\necho sold\r\n",
        "forbidden": b"echo sold\n",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o644 if name == "forbidden" else 0o755)
    (tmp_path / "folder").mkdir()
    nobody = "its first line names an interpreter that is not there"
    cases = {
        "./start-shop": (7, "./start-shop a b\n", ""),
        "start-shop": (7, f"{tmp_path}/start-shop a b\n", ""),
        "./empty": (0, "", ""),
        "./binary": (126, "", "poolhouse run: ./binary cannot be run: Exec format error\n"),
        "./stale": (126, "", f"poolhouse run: ./stale cannot be run: {nobody}\n"),
        "windows": (126, "", f"poolhouse run: windows cannot be run: {nobody}\n"),
        "./forbidden": (126, "", "poolhouse run: ./forbidden cannot be run: Permission denied\n"),
        "./folder": (126, "", "poolhouse run: ./folder cannot be run: Permission denied\n"),
        "./none": (127, "", "poolhouse run: there is no command ./none\n"),
        "no\ne": (127, "", "poolhouse run: there is no command no·e\n"),
        "": (2, "", "poolhouse run: the command cannot be run: execve: argv first element cannot be empty\n"),
    }
    variables = {**plain_environment(), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for name, expected_end in cases.items():
        done = subprocess.run(
            [COMMANDS / "poolhouse", "run", "--", name, "a", "b"],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == expected_end, name
