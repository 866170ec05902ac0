"""The command ``poolhouse attach``: for a Python environment, or a running process."""

import argparse
import os
import sys

from poolhouse.attach import install, remote
from poolhouse.attach.run import add_settings, report_url
from poolhouse.complaints import complain
from poolhouse.errors import SettingError
from poolhouse.stdio import write

DESCRIPTION = """\
Have the pools of programs measured that "poolhouse run" cannot start.

  poolhouse attach --install [PYTHON]   every start of that Python, or of a virtual environment, is attached where
                                        --report or the environment variable POOLHOUSE_REPORT names a destination
  poolhouse attach --remove [PYTHON]    undoes that
  poolhouse attach PID                  a process of Python 3.14 or newer that runs already
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that `attach` takes."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--install", action="store_true", help="attach every start of a Python")
    how.add_argument("--remove", action="store_true", help="undo --install")
    add_settings(parser)
    parser.add_argument(
        "target",
        nargs="?",
        metavar="PID | PYTHON",
        help="a process; or an interpreter, or the folder of a virtual environment (default: this Python)",
    )


def attach(arguments: argparse.Namespace) -> int:
    """Do what the arguments demand; returns the exit status."""
    try:
        report = None
        if arguments.report is not None or arguments.program is not None:
            report = report_url(arguments.report, arguments.program, os.environ, is_inherited=False)
        if arguments.install or arguments.remove:
            return _change(arguments, report)
        if arguments.target is None or not arguments.target.isdecimal():
            complain("poolhouse attach", "expected the number of a process, --install or --remove")
            return 2
        write(f"{remote.attach(int(arguments.target), report)}\n", sys.stdout)
    except SettingError as error:
        complain("poolhouse attach", str(error))
        return 2
    except (install.Refused, remote.Refused) as error:
        complain("poolhouse attach", str(error))
        return 1
    return 0


def _change(arguments: argparse.Namespace, report: str | None) -> int:
    environment = install.find(arguments.target)
    try:
        if arguments.install:
            for path in install.install(environment, report):
                write(f"written {path}\n", sys.stdout)
            where = report or "where POOLHOUSE_REPORT says, and only where that is set"
            write(f"Each start of {environment.python} is attached and reports to {where}.\n", sys.stdout)
        else:
            removed = install.remove(environment)
            text = "".join(f"removed {path}\n" for path in removed)
            write(text or f"nothing to remove in {environment.folder}\n", sys.stdout)
    except OSError as error:
        if error.filename is None:
            raise  # Of the standard output.
        raise install.Refused(f"{error.filename}: {error.strerror}") from None
    return 0
