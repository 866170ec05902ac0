"""``python -m poolhouse.demo``."""

import sys

from poolhouse.demo.command import main

if __name__ == "__main__":
    sys.exit(main())
