"""What our commands say on standard error: one line, without passwords and control characters."""

import sys

from poolhouse.clean import clean
from poolhouse.conceal import conceal
from poolhouse.stdio import say

#: The most characters of a complaint; collectd cuts a line of its log at 1,024 bytes.
LONGEST_COMPLAINT = 1000


def presentable(text: str) -> str:
    r"""The text in one line that may be shown: without passwords and control characters, and not too long.

    >>> presentable("no port: postgresql://me:secret@db/shop\x1b[2J")
    'no port: postgresql://me:…@db/shop·[2J'
    """
    # In this order: a password is recognized by what follows it, which a shorter text may lack.
    return clean(conceal(text), LONGEST_COMPLAINT)


def complain(command: str, sentence: str) -> None:
    """Say on standard error what is wrong; never raises.

    Args:
        command: The command that says it, such as ``poolhouse run``.
        sentence: What is wrong; it may repeat what the user typed.
    """
    say(f"{command}: {presentable(sentence)}", sys.stderr)
