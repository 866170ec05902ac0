"""What attaching costs: the start of Python under ``poolhouse run``, an import, and the first engine.

python benchmarks/attach.py [STARTS]

Starts of ``python -c pass`` take turns, bare and attached: CPU time of the process in milliseconds, least and
median. The last rows are of one process each.
"""

import os
import resource
import subprocess
import sys
from statistics import median

from poolhouse.attach.run import environment

STARTS = 40

#: An import that is none of ours, as the other finders are not asked: nanoseconds.
IMPORT = """
import sys, time
finder = sys.meta_path[0]
assert finder.is_poolhouses
n = 200_000
began = time.perf_counter()
for _ in range(n):
    finder.find_spec("another_module", None)
print((time.perf_counter() - began) / n * 1e9)
"""

#: Milliseconds of CPU of the first and of the second engine's first checkout.
ENGINE = """
import time
from sqlalchemy import create_engine
def checkout(url):
    began = time.process_time()
    engine = create_engine(url, pool_size=1)
    engine.raw_connection().close()
    return (time.process_time() - began) * 1e3
print(checkout("sqlite:///file:a?mode=memory&uri=true"), checkout("sqlite:///file:b?mode=memory&uri=true"))
"""


def cpu_of_start(variables: dict[str, str]) -> float:
    """Milliseconds of CPU of a Python that does nothing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "pass"], env=variables, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1e3


def told(code: str, variables: dict[str, str]) -> list[float]:
    """The numbers that a program prints."""
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    """Measure, and print a table."""
    starts = int(sys.argv[1]) if len(sys.argv) > 1 else STARTS
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("POOLHOUSE_", "PYTHON"))}
    attached = environment(bare, "collectd://127.0.0.1:9/")
    plain: list[float] = []
    ours: list[float] = []
    for _ in range(starts):
        plain.append(cpu_of_start(bare))
        ours.append(cpu_of_start(attached))
    print(f"start of Python, CPU ms of {starts} in turns      bare   attached   more")
    for name, of in (("least", min), ("median", median)):
        print(f"{name:<40}{of(plain):>10.1f}{of(ours):>11.1f}{of(ours) - of(plain):>7.1f}")
    print(f"\nan import that is none of ours, ns{told(IMPORT, attached)[0]:>10.0f}")
    for name, variables in (("bare", bare), ("attached", attached)):
        first, second = told(ENGINE, variables)
        print(f"first engine and checkout, {name:<10} CPU ms{first:>8.1f}, a second one{second:>7.2f}")


if __name__ == "__main__":
    main()
