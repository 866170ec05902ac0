"""The subcommands of ``poolhouse``, read with argparse: they need the standard library only."""

import argparse
import sys
from typing import NoReturn

from poolhouse.argparse_command import Parser
from poolhouse.complaints import complain
from poolhouse.feed.product import product
from poolhouse.stdio import write


def run() -> NoReturn:
    """Run the subcommand that the command line names; ``run`` is only explained here."""
    parser = Parser(prog="poolhouse", description="Database connection pools, and their live view.")
    parser.add_argument("--version", action="version", version=product("poolhouse"))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("run", help="start a command and report its pools, without changing its code")
    for name, help_, prepare in _COMMANDS:
        command = commands.add_parser(name, help=help_)
        if name in sys.argv:  # Each imports modules of its own.
            prepare(command)
    arguments = parser.parse_args()
    sys.exit(arguments.run(arguments))


def _attach(parser: argparse.ArgumentParser) -> None:
    from poolhouse.attach.command import add_arguments, attach

    add_arguments(parser)
    parser.set_defaults(run=attach)


def _doctor(parser: argparse.ArgumentParser) -> None:
    from poolhouse.doctor.command import add_arguments, examine

    add_arguments(parser)
    parser.set_defaults(run=examine)


def _explain(parser: argparse.ArgumentParser) -> None:
    parser.description = "What a verdict means, what to do about it, and what would disprove it."
    parser.add_argument(
        "cause",
        nargs="*",
        metavar="CAUSE",
        help="the cause that a verdict names, or an error message; all causes if left out",
    )
    parser.set_defaults(run=_print_explanation)


def _demo(parser: argparse.ArgumentParser) -> None:
    from poolhouse.demo.command import add_arguments, show

    add_arguments(parser)
    parser.set_defaults(run=show)


#: The name and the help of each subcommand, and what adds its arguments and its function to a parser.
_COMMANDS = (
    ("attach", "report the pools of programs that `run` cannot start", _attach),
    ("doctor", "why don't I see anything?", _doctor),
    ("explain", "what does a verdict, or an error message, mean?", _explain),
    ("demo", "a small live fleet on this machine, and the console", _demo),
)


def become() -> int:
    """Run ``poolhouse run``: another program replaces this one; returns a status if that fails."""
    from poolhouse.attach.run import add_arguments
    from poolhouse.attach.run import run as run_command

    parser = Parser(prog="poolhouse run")
    add_arguments(parser)
    return run_command(parser.parse_args(sys.argv[2:]))


def _print_explanation(arguments: argparse.Namespace) -> int:
    from poolhouse.verdicts.explain import explained, meant

    asked = " ".join(arguments.cause)
    text = explained(asked)
    if not text:
        near = meant(asked)
        hint = f"did you mean {near}?" if near else "without a name it lists the causes"
        complain("poolhouse explain", f"no such cause or message is known; {hint}")
        return 2
    write(text, sys.stdout)
    return 0
