"""connmon.cfg: services, nodes, logging."""

import tempfile
from pathlib import Path

from poolhouse.configuration.files import load_configuration
from poolhouse.daemon.logging_sections import check_logging
from poolhouse.errors import SettingError

_FOLDER = Path(tempfile.mkdtemp())


def seeds() -> dict[str, bytes]:
    """Files with each setting."""
    return {
        "small": b"[connmon_service_default]\nname: default\nnodes:\n    node1 hostname=web1:5800 bind=0.0.0.0\n",
        "everything": (
            b"[DEFAULT]\nhere = /var\n[connmon_service_x]\nname = x ; remark\nnodes: # no\n  n1 hostname = [::1]\n"
            b"  n2 hostname=b:1 bind=c\nuse_auth: yes\nauth_key: me\nauth_secret: %(here)s%%\nssl_certfile: /c\n"
            b"csv_dump: %(here)s/f.csv\ncsv_columns: hostname, progname\ncsv_rotate_bytes: 5000\ncsv_keep: 3\n"
            b"http: off\nauthfile: /a\nsecuritylevel: sign\nstrict: no\nlog_format: json\n"
        ),
        "logging": (
            b"[connmon_service_default]\nname: default\nnodes: n1 hostname=a\n[loggers]\nkeys: root\n[handlers]\n"
            b"keys = h\n[formatters]\nkeys = f\n[logger_root]\nlevel = INFO\nhandlers = h\n[handler_h]\n"
            b"class = StreamHandler\nformatter = f\nargs = (sys.stderr,)\n[formatter_f]\nformat = %(message)s\n"
        ),
        "latin": b"[connmon_service_default]\nname: caf\xe9\nnodes: n1 hostname=a\n",
    }


def check(data: bytes) -> None:
    """Nothing but `SettingError`, in one line."""
    path = _FOLDER / "connmon.cfg"
    path.write_bytes(data)
    try:
        configuration = load_configuration(str(path))
        # Classes are imported by name: only what stands in the seeds.
        if b"class" not in data:
            check_logging(configuration)
    except SettingError as error:
        words = str(error)
    else:
        words = " ".join(configuration.warnings)
    assert "\n" not in words, "more than a line"
    words.encode()
