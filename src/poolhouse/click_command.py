"""What connmon and connmond have in common as commands of Click, whose options are their own."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import click
from click.exceptions import Exit

from poolhouse.complaints import presentable
from poolhouse.feed.product import product
from poolhouse.stdio import write

#: The exit status of a program that Ctrl-C ended.
INTERRUPTED = 130


class Command(click.Command):
    """A command whose usage errors, Click's and its own, repeat no password of what the user typed.

    Ctrl-C ends it without a word, with the status `INTERRUPTED`.
    """

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """The option ``--help``: unlike Click's, it reports that there is no output for it."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words after the command's name."""
        with _presentable_end(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _presentable_end(ctx):
            return super().invoke(ctx)


def _show_help(ctx: click.Context, _: click.Parameter, is_wanted: bool) -> None:
    if is_wanted:
        write(f"{ctx.get_help()}\n", sys.stdout)
        raise Exit


@contextmanager
def _presentable_end(ctx: click.Context) -> Generator[None]:
    try:
        yield
    except click.UsageError as error:
        raise click.UsageError(presentable(error.format_message()), ctx) from None
    except KeyboardInterrupt:
        raise Exit(INTERRUPTED) from None


def version_option(command: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option ``--version``, which prints the version and ends the command.

    Args:
        command: The name under which it is printed.
    """

    def show(_: click.Context, __: click.Parameter, is_wanted: bool) -> None:
        if is_wanted:
            write(f"{product(command)}\n", sys.stdout)
            raise Exit

    return click.option(
        "--version", is_flag=True, callback=show, is_eager=True, expose_value=False, help="Print the version."
    )
