"""What an examination finds."""

from enum import IntEnum
from typing import NamedTuple

from poolhouse.clean import clean


class Verdict(IntEnum):
    """How it stands with one thing; the value orders them by how much they matter."""

    FINE = 0
    #: Nothing speaks against it, and nothing confirms it.
    UNKNOWN = 1
    WRONG = 2


#: The status with which the command ends, by the worst verdict. Status 2 is for arguments that are wrong.
STATUS = {Verdict.FINE: 0, Verdict.UNKNOWN: 3, Verdict.WRONG: 1}
#: Characters of a line of a finding.
LONGEST_LINE = 1000
SIGNS = {Verdict.FINE: "ok", Verdict.UNKNOWN: "?", Verdict.WRONG: "WRONG"}


class Finding(NamedTuple):
    """One thing that was looked at."""

    verdict: Verdict
    subject: str
    #: A sentence or more for people.
    text: str

    def __str__(self) -> str:
        """One line, or several where the text has several.

        >>> print(Finding(Verdict.FINE, "name", "web1 is 10.0.0.1"))
        ok     name         web1 is 10.0.0.1
        """
        indent = "\n" + " " * 20
        text = indent.join(clean(line, LONGEST_LINE) for line in self.text.split("\n"))
        return f"{SIGNS[self.verdict]:<6} {self.subject:<12} {text}"
