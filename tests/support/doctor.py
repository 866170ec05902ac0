"""``poolhouse doctor`` as a process."""

import os
import sys

from support import zygote

COMMAND = (sys.executable, "-W", "error", "-c", "from poolhouse.cli import poolhouse; poolhouse()", "doctor")


def examine(
    *arguments: str, command: tuple[str, ...] = COMMAND, **environment: str
) -> tuple[int, dict[str, str], str]:
    """Status, findings by subject (each with its sign), and what went to the error output."""
    result = zygote.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "POOLHOUSE_REPORT": "", **environment},
    )
    findings: dict[str, str] = {}
    for line in result.stdout.splitlines():
        sign, subject, text = line[:6].strip(), line[7:19].strip(), line[20:]
        if subject:
            last = subject
            findings[last] = f"{sign} {text}"
        else:
            findings[last] += f"\n{text}"
    return result.returncode, findings, result.stderr
