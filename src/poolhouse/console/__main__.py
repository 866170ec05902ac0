"""``python -m poolhouse.console`` is ``connmon``."""

from poolhouse.console.command import connmon
from poolhouse.stdio import guarded

if __name__ == "__main__":
    guarded("connmon", lambda: connmon(prog_name="connmon"))
