"""The command ``poolhouse run``: starts a command whose pools are measured, and those of its Python children.

It puts the folder `BOOTSTRAP` first into ``PYTHONPATH``, its settings into ``POOLHOUSE_REPORT``, and becomes the
command: process id, signals, standard files, exit status and arguments stay what they would be without it.
"""

import argparse
import errno
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from poolhouse.attach.finder import is_disabled
from poolhouse.complaints import complain
from poolhouse.defaults import REPORT_VARIABLE
from poolhouse.errors import SettingError
from poolhouse.report.destination import Destination

#: The folder whose ``sitecustomize`` attaches poolhouse to every Python that has it in ``PYTHONPATH``.
BOOTSTRAP = str(Path(__file__).parent / "bootstrap")

#: Statuses of a shell for a command that is not there, or cannot be run.
NOT_FOUND, NOT_EXECUTABLE = 127, 126

#: What runs a file that names no interpreter, as a shell does.
SHELL = "/bin/sh"

#: Launchers that hide ours: the first puts a ``sitecustomize`` of its own before it, the others
#: start the command without ``PYTHONPATH``.
HIDING = ("opentelemetry-instrument", "sudo", "doas")
#: Options of Python's that keep something from being read. What helps against the first does so against all.
BLIND = {"-S": "site-packages and sitecustomize", "-I": "PYTHONPATH", "-E": "PYTHONPATH"}

DESCRIPTION = """\
Start a command, and measure every connection pool in it and in its Python children: SQLAlchemy's engines, and
the pools of psycopg_pool (Django's included), asyncpg, aiomysql and psycopg2. No line of code is needed, and what
the code says itself counts more.
"""
EPILOG = """\
examples  poolhouse run -- gunicorn shop:app
          poolhouse run --report collectd://monitor.example/ --program shop -- python -m shop

Without --report they go where the environment variable POOLHOUSE_REPORT says, else to this machine.
POOLHOUSE_DISABLE=1 starts the command as it is.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `run` takes."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage = "poolhouse run [--report URL] [--program NAME] [--] COMMAND [ARGUMENT ...]"
    add_settings(parser)
    parser.add_argument(
        "command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the command, and its arguments"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The two arguments that say where reports go, and under which name."""
    parser.add_argument(
        "--report",
        metavar="URL",
        help="where reports go: collectd://host:port/ or connmon://host:port/ (default: POOLHOUSE_REPORT)",
    )
    parser.add_argument(
        "--program", metavar="NAME", help="the name under which processes are summed (default: the script's name)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Become the command; returns the exit status if that is not possible."""
    command: list[str] = arguments.command
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        complain("poolhouse run", "which command? For example: poolhouse run -- gunicorn shop:app")
        return 2
    try:
        report = report_url(arguments.report, arguments.program, os.environ)
    except SettingError as error:
        complain("poolhouse run", str(error))
        return 2
    if not is_disabled() and (advice := advice_on(command) or advice_on(interpreter(command))) is not None:
        complain("poolhouse run", advice)
    return become(command, environment(os.environ, report))


def report_url(
    report: str | None, program: str | None, variables: Mapping[str, str], *, is_inherited: bool = True
) -> str:
    """The URL to which the command's pools report.

    Args:
        report: The value of ``--report``: a URL, or only host and port.
        program: The value of ``--program``.
        variables: The environment, whose ``POOLHOUSE_REPORT`` is used if `report` is ``None``.
        is_inherited: Whether the command inherits that variable anyway, password included.

    Raises:
        SettingError: If the URL is wrong or already names a program, if the name is empty, or if the URL has a
            password that would become visible where it was not: in a list of processes, or in another environment.

    >>> report_url("monitor.example", "web shop", {})
    'collectd://monitor.example/?program_name=web%20shop'
    >>> report_url(None, "shop", {"POOLHOUSE_REPORT": "connmon://[::1]:5800/?interval=5"})
    'connmon://[::1]:5800/?interval=5&program_name=shop'
    >>> report_url(None, None, {})
    'collectd://localhost/'
    """
    if program == "":
        raise SettingError("--program", "expected a text, not ''")
    name = "--report" if report is not None else REPORT_VARIABLE
    url = report if report is not None else variables.get(REPORT_VARIABLE) or "collectd://localhost/"
    if "://" not in url:
        url = f"collectd://{url}"
    if program is not None:
        url += f"{'' if '?' in url else '?' if url.count('/') > 2 else '/?'}"
        url += f"{'' if url[-1] in '?&' else '&'}program_name={quote(program, safe='')}"
    try:
        Destination.from_url(url)
    except SettingError as error:
        raise SettingError(name, str(error)) from None
    if _has_password(url) and not (name == REPORT_VARIABLE and is_inherited):
        raise SettingError(name, "others could read the password; write it into a file, and name password_file")
    return url


def _has_password(url: str) -> bool:
    parts = urlsplit(url)
    return parts.password is not None or "password" in parse_qs(parts.query)


def environment(variables: Mapping[str, str], report: str) -> dict[str, str]:
    """The command's environment.

    >>> found = environment({"PYTHONPATH": "lib"}, "collectd://localhost/")
    >>> found["PYTHONPATH"] == f"{BOOTSTRAP}{os.pathsep}lib", found["POOLHOUSE_REPORT"]
    (True, 'collectd://localhost/')
    """
    before = [entry for entry in variables.get("PYTHONPATH", "").split(os.pathsep) if entry != BOOTSTRAP]
    # An empty entry would be the working directory; an empty variable is none.
    path = os.pathsep.join([BOOTSTRAP, *([] if before == [""] else before)])
    return {**variables, "PYTHONPATH": path, REPORT_VARIABLE: report}


def advice_on(command: Sequence[str]) -> str | None:
    """Advice for a command that poolhouse does not get into; ``None`` if it is not a known one.

    >>> advice_on(["/usr/bin/opentelemetry-instrument", "python", "shop.py"])
    'opentelemetry-instrument hides poolhouse: write it in front, opentelemetry-instrument poolhouse run …'
    >>> advice_on(["python3", "-Es", "shop.py"])
    'python3 -E does not read PYTHONPATH: only poolhouse attach --install gets in there'
    >>> advice_on(["python", "shop.py", "-I"]) is None
    True
    """
    launcher = os.path.basename(command[0]) if command else ""
    if launcher in HIDING:
        return f"{launcher} hides poolhouse: write it in front, {launcher} poolhouse run …"
    if launcher.startswith("python") and (option := blind_option(command)) is not None:
        way = "import poolhouse.auto in the program" if option == "-S" else "poolhouse attach --install"
        return f"{launcher} {option} does not read {BLIND[option]}: only {way} gets in there"
    return None


def interpreter(command: Sequence[str]) -> list[str]:
    """The interpreter in the first line of a script, in words; empty if the command is not a script."""
    path = _path(command[0], os.environ)
    try:
        if path is None:
            return []
        with open(path, "rb") as file:
            line = file.readline(256)
    except OSError:
        return []
    return line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []


def blind_option(command: Sequence[str]) -> str | None:
    """The option of Python in a command that keeps poolhouse out; ``None`` if there is none.

    >>> blind_option(["python", "-uIS", "shop.py"]), blind_option(["python", "-W", "error", "-m", "shop", "-S"])
    ('-S', None)
    """
    found = set(_options(command))
    return next((option for option in BLIND if option in found), None)


def _options(command: Sequence[str]) -> Iterator[str]:
    """The options given to Python itself, one letter each; not those of the script."""
    for argument in command[1:]:
        if argument == "--" or not argument.startswith("-") or argument.startswith(("-c", "-m")):
            return
        if not argument.startswith("--"):
            yield from (f"-{letter}" for letter in argument[1:] if argument[1] not in "WX")
        if argument in ("-W", "-X"):
            return  # A value follows; what comes after that is rarely one of ours.


def become(
    command: list[str],
    variables: Mapping[str, str],
    execute: Callable[[str, list[str], Mapping[str, str]], Any] = os.execvpe,
) -> int:
    """Become a command; if it cannot be run, print a sentence and return the status."""
    # Python ignores these signals; a command expects to start with their defaults.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    name = command[0]
    try:
        try:
            execute(command[0], command, variables)
        except OSError as error:
            if error.errno != errno.ENOEXEC or (path := _script(command[0], variables)) is None:
                raise
            execute(SHELL, [SHELL, path, *command[1:]], variables)
    except FileNotFoundError:
        if _path(command[0], variables) is not None:
            complain(
                "poolhouse run", f"{name} cannot be run: its first line names an interpreter that is not there"
            )
            return NOT_EXECUTABLE
        complain("poolhouse run", f"there is no command {name}")
        return NOT_FOUND
    except OSError as error:
        complain("poolhouse run", f"{name} cannot be run: {error.strerror}")
        return NOT_EXECUTABLE
    except ValueError as error:  # A null character, for example.
        complain("poolhouse run", f"the command cannot be run: {error}")
        return 2
    return 0


def _path(command: str, variables: Mapping[str, str]) -> str | None:
    """The executable file of a command; ``None`` if there is none."""
    from shutil import which  # Only here: most commands can be run as they are.

    return which(command, path=variables.get("PATH"))


def _script(command: str, variables: Mapping[str, str]) -> str | None:
    """The file if it is text, and so a script for a shell; otherwise ``None``."""
    path = _path(command, variables)
    if path is None:
        return None
    with open(path, "rb") as file:
        return None if b"\0" in file.read(1024) else path
