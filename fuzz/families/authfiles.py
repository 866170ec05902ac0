"""AuthFiles, as collectd and people write them."""

from poolhouse.configuration.keys import MOST_PASSWORDS, parse_keys


def seeds() -> dict[str, bytes]:
    """Files with each of the corners of the format."""
    return {
        "two users": b"# ours\nalice: s3cret\nbob:hunter2\n",
        "corners": b" alice:  s3:cret \nalice: no\n#poolhouse-also alice: before\r\nnobody\n: x\nbob:\n\0eve: x",
        "hosts": b"a: 1\nb: 2\n#poolhouse-hosts a: web1 db-*.example\n#poolhouse-hosts b web1, x[1]\n#poolhouse-x",
        "many": b"a: 1\n" + b"#poolhouse-also a: 2\n" * 5 + b"b: " + b"x" * 1200,
    }


def check(data: bytes) -> None:
    """Nothing raises; no warning repeats a password, no user has too many."""
    keys = parse_keys(data)
    for line in data.split(b"\n"):
        user = line.partition(b":")[0]
        assert len(keys.passwords(user)) <= MOST_PASSWORDS
        hosts = keys.hosts(user)
        assert hosts is None or "" not in hosts or b"*" in data, "a host that nobody named"
    assert repr(keys) == f"<Keys of {len(keys)} users>"
    assert all(warning.isprintable() and len(warning) < 100 for warning in keys.warnings)
