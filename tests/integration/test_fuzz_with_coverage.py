"""`python -m fuzz`: families under atheris, so many inputs, from one seed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


#: Those whose bytes anybody can send; the others are in `test_fuzz_families`, as all are in `make fuzz`.
FAMILIES = ["reports", "seals", "signs"]


def test_decoders_withstand_inputs_that_coverage_guides() -> None:
    command = [sys.executable, "-m", "fuzz", "--runs", "5000", "--seed", "12", "--fresh", *FAMILIES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == FAMILIES
    assert all(int(line[1].replace(",", "")) >= 5000 for line in lines)


def test_an_input_that_breaks_a_family_is_found_and_shown(tmp_path: Path) -> None:
    program = "import fuzz.families.types_db as t; t.check = lambda d: 1 / (len(d) - 3); import fuzz.guided"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv = ['x', 'types_db', '-runs=2000', '-seed=1']; {program}"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr
