"""Throw bytes at every decoder, guided by coverage (atheris); an input that breaks one ends its family.

    python -m fuzz [--seconds 180] [--runs N] [--seed N] [--fresh] [FAMILY …]
    python -m fuzz --write-corpus [FAMILY …]

The seconds are shared by the families. What a run finds worth trying is kept in ``.fuzz/FAMILY``, where the next
one begins. An input that breaks something is ``.fuzz/FAMILY-crash-…``.
"""

import argparse
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.harness import FAMILIES, corpus_of, write_corpus

ROOT = Path(__file__).parent.parent
KEPT = ROOT / ".fuzz"
#: Bytes of an input at most: more than a datagram of ours. Seconds and MiB that one input may take.
LONGEST, PATIENCE, MEMORY = 16_384, 10, 1024


def fuzzed(family: str, folder: str, kept: Path, options: list[str]) -> tuple[int, str]:
    """Run one family in a process of its own: how many inputs it tried, and what broke, empty if nothing did.

    Args:
        family: Its name.
        folder: A temporary one, for the corpus.
        kept: Where what is worth trying again is kept.
        options: More options of libFuzzer.
    """
    begin = Path(folder) / "corpus"
    begin.mkdir()
    for number, data in enumerate(corpus_of(family).values()):
        (begin / f"{number:03}").write_bytes(data)
    command = [sys.executable, "-W", "error", "-m", "fuzz.guided", family, *options, "-print_final_stats=1"]
    command += [f"-max_len={LONGEST}", f"-timeout={PATIENCE}", f"-rss_limit_mb={MEMORY}", str(kept), str(begin)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace")
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    return int(tried[1]) if tried else 0, "" if done.returncode == 0 else f"{done.stdout}\n{done.stderr}"


def main() -> int:
    """Run the families one after the other; status 1 if something broke."""
    parser = argparse.ArgumentParser(prog="python -m fuzz")
    parser.add_argument("--seconds", type=float, default=180.0, help="shared by the families")
    parser.add_argument("--runs", type=int, help="inputs of each family, in place of seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(1, 2**31))
    parser.add_argument("--fresh", action="store_true", help="begin with the corpus, and keep nothing")
    parser.add_argument(
        "--write-corpus", action="store_true", help="write the seeds of our encoders to fuzz/corpus"
    )
    parser.add_argument("families", nargs="*", metavar="FAMILY", help=", ".join(FAMILIES))
    options = parser.parse_args()
    families = options.families or FAMILIES
    if options.write_corpus:
        for family in families:
            write_corpus(family)
        return 0
    share = max(1, round(options.seconds / len(families)))
    bound = f"-max_total_time={share}" if options.runs is None else f"-runs={options.runs}"
    is_whole = True
    for family in families:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kept" if options.fresh else KEPT / family
            kept.mkdir(parents=True, exist_ok=True)
            flags = [f"-seed={options.seed}", bound, f"-artifact_prefix={kept.parent}/{family}-"]
            tried, broken = fuzzed(family, folder, kept, flags)
        seconds = time.monotonic() - began
        sys.stdout.write(
            f"{family:14} {tried:9,} inputs in {seconds:3.0f} s, seed {options.seed}  {broken or 'ok'}\n"
        )
        sys.stdout.flush()
        is_whole = is_whole and not broken
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
