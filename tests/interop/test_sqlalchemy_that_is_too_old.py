"""SQLAlchemy 1.3.24, the last one before the oldest that can be measured: it imports, and is told so."""

import os
import subprocess
import sys
from pathlib import Path

from support.installs import pip_install
from support.paths import SOURCES

MAKE_ENGINES = """
import poolhouse, sqlalchemy
from sqlalchemy.exc import ArgumentError
for make in (
    lambda: sqlalchemy.create_engine("sqlite:///?plugin=collectd"),
    lambda: sqlalchemy.create_engine("sqlite://", plugins=["collectd"]),
    lambda: poolhouse.instrument(sqlalchemy.create_engine("sqlite://")),
):
    try:
        make()
    except ArgumentError as error:
        print(error)
"""


def test_every_way_to_measure_an_engine_says_which_version_it_needs(tmp_path: Path) -> None:
    # It finds plugins with pkg_resources, which setuptools had until version 81.
    pip_install(tmp_path, "sqlalchemy==1.3.24", "setuptools<81")
    path = os.pathsep.join([str(tmp_path), str(SOURCES)])
    command = [sys.executable, "-W", "ignore", "-c", MAKE_ENGINES]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == 3 * ["poolhouse needs SQLAlchemy 1.4.24 or later, and this is 1.3.24"]
