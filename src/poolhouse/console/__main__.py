"""``python -m poolhouse.console`` is ``connmon``."""

from poolhouse.cli import connmon

if __name__ == "__main__":
    connmon()
