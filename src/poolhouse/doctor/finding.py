"""One result of an examination."""

from enum import IntEnum
from typing import NamedTuple

from poolhouse.clean import clean


class Verdict(IntEnum):
    """The state of one thing; the value orders verdicts by importance."""

    FINE = 0
    #: Nothing speaks against it, but nothing confirms it.
    UNKNOWN = 1
    WRONG = 2


#: The command's exit status, by the worst verdict. Status 2 is for wrong arguments.
STATUS = {Verdict.FINE: 0, Verdict.UNKNOWN: 3, Verdict.WRONG: 1}
#: The most characters of a line of a finding.
LONGEST_LINE = 1000
SIGNS = {Verdict.FINE: "ok", Verdict.UNKNOWN: "?", Verdict.WRONG: "WRONG"}


class Finding(NamedTuple):
    """One thing that was examined."""

    verdict: Verdict
    subject: str
    #: A sentence or more for people.
    text: str

    def __str__(self) -> str:
        """One line, or several if the text has several.

        >>> print(Finding(Verdict.FINE, "name", "web1 is 10.0.0.1"))
        ok     name         web1 is 10.0.0.1
        """
        indent = "\n" + " " * 20
        text = indent.join(clean(line, LONGEST_LINE) for line in self.text.split("\n"))
        return f"{SIGNS[self.verdict]:<6} {self.subject:<12} {text}"
