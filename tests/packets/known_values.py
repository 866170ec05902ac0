"""What a real collectd was told to send: a collectd plugin, and the truth for the tests.

collectd's Python imports this module (``Import "known_values"``) and sends everything once; the tests import it
for `VALUES` and `NOTIFICATIONS`. It needs nothing but the standard library.
"""

#: host, plugin, plugin instance, type, type instance, time in s, interval in s, values. The types are those of
#: collectd's types.db, which decides each value's kind.
VALUES = [
    ("web1", "sqlalchemy", "nova", "count", "checkedout", 1700000000.5, 10.0, [5.0]),
    ("web1", "sqlalchemy", "nova", "count", "checkedin", 1700000000.5, 10.0, [float("nan")]),
    ("web1", "sqlalchemy", "nova", "derive", "checkouts", 1700000000.5, 10.0, [1234]),
    ("web1", "sqlalchemy", "host", "derive", "checkouts", 1700000000.5, 10.0, [2**62]),
    ("web1", "load", "", "load", "", 1700000001.25, 10.0, [0.5, 1e-300, -1e300]),
    ("web1", "interface", "eth0", "if_octets", "", 1700000001.25, 0.25, [2**40, 0]),
    ("web2", "cpu", "", "counter", "", 1700000002.0, 0.25, [2**64 - 1]),
    ("web2", "bücher", "süd", "absolute", "größe", 1700000002.0, 60.0, [7]),
    # As many again as make the sender fill several packets.
    *(("web2", "many", f"{n:03}", "gauge", "x" * (n % 60), 1700000003.0, 60.0, [n / 8]) for n in range(120)),
]

#: host, plugin, plugin instance, type, type instance, time in s, severity, message.
NOTIFICATIONS = [
    ("web1", "sqlalchemy", "nova", "count", "waiting", 1700000004.0, 2, "12 callers wait for a connection"),
    ("web1", "", "", "count", "", 1700000005.5, 1, "größer " + "x" * 200),
    ("web1", "sqlalchemy", "", "derive", "", 1700000006.0, 4, "all is well"),
]

_IDENTITY = ("host", "plugin", "plugin_instance", "type", "type_instance")


def _send_all() -> None:
    import collectd

    for *identity, time, interval, values in VALUES:
        told = dict(zip(_IDENTITY, identity, strict=True))
        collectd.Values(**told, time=time, interval=interval, values=values).dispatch()
    for *identity, time, severity, message in NOTIFICATIONS:
        told = dict(zip(_IDENTITY, identity, strict=True))
        collectd.Notification(**told, time=time, severity=severity, message=message).dispatch()
    collectd.info("known values: sent")


def _register() -> None:
    try:
        import collectd
    except ImportError:
        return
    # Called at once, and again after a day.
    collectd.register_read(_send_all, 86400)


_register()
