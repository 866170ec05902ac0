"""One family under atheris: ``python -m fuzz.guided FAMILY [options and folders of libFuzzer]``."""

import sys

import atheris

from fuzz.harness import check_of

with atheris.instrument_imports(include=["poolhouse"]):
    check = check_of(sys.argv[1])

atheris.Setup([sys.argv[0], *sys.argv[2:]], check)
atheris.Fuzz()
