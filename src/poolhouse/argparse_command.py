"""What the commands that argparse reads have in common."""

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from poolhouse.complaints import presentable
from poolhouse.stdio import say, write

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class Parser(argparse.ArgumentParser):
    """argparse's parser; unlike argparse, it reports that its help or version could not be written."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and a message, which may repeat a URL: without its password."""
        super().error(presentable(message))

    def _print_message(self, message: str, file: "SupportsWrite[str] | None" = None) -> None:
        is_output = file is sys.stdout
        if is_output:
            write(message, sys.stdout)
        else:
            say(message.removesuffix("\n"), sys.stderr)
