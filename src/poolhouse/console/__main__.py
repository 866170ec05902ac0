"""``python -m poolhouse.console`` is ``connmon``."""

from poolhouse.console.command import connmon

if __name__ == "__main__":
    connmon(prog_name="connmon")
