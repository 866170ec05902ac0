"""`make faults`: the tool stages faults and tells the truth about them; the page is its own."""

import subprocess
import sys

from support.pages import ROOT

TOOL = ROOT / "tools" / "faults.py"


def test_faults_are_staged_and_told_in_a_table():
    command = [sys.executable, str(TOOL), "no_memory", "no_descriptors", "two_daemons"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in done.stdout.splitlines()]
    assert [line[3] for line in lines] == ["0", "0", "0"]
    assert "no connection can be accepted: Too many open files" in done.stdout
    assert "Address already in use, perhaps by another connmond" in done.stdout


def test_the_page_has_every_fault():
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import faults
    finally:
        sys.path.pop(0)
    page = (ROOT / "docs" / "reference" / "faults.md").read_text()
    assert len([line for line in page.splitlines() if line.startswith("| ")]) == 1 + len(faults.FAULTS)
    assert page.startswith(faults.HEAD)
    assert page.endswith(faults.TAIL)
