"""How long a process takes to examine itself: one pool, seven sites, saturated. Prints milliseconds."""

import random
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from poolhouse.verdicts.standing import Examiner
from support.troubled import Life, busy

ROUNDS, TIMES = 9, 5


def main() -> None:
    dice = random.Random(1)
    life = Life(most=15)
    life.work(lambda: busy(1.5, f"app.py:{dice.randrange(7)} in f"), 40)
    life.live(40)
    spent = []
    for _ in range(ROUNDS):
        for _ in range(TIMES):
            examiner = Examiner()
            for moment in life.moments[:-1]:
                examiner.take(moment)
            began = time.perf_counter()
            examiner.take(life.moments[-1])
            spent.append(time.perf_counter() - began)
    sites = len(life.moments[-1].pools[0].signs.sites)
    print(f"one examination of {sites} sites: {1e3 * median(spent):.2f} ms (at most 0.5)")


if __name__ == "__main__":
    main()
