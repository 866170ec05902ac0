"""``python -m poolhouse.daemon`` is ``connmond``."""

from poolhouse.daemon.command import app
from poolhouse.stdio import guarded

if __name__ == "__main__":
    guarded("connmond", lambda: app(prog_name="connmond"))
