"""``python -m poolhouse.daemon`` is ``connmond``."""

from poolhouse.daemon.command import app

if __name__ == "__main__":
    app(prog_name="connmond")
