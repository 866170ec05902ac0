"""Which line holds a connection that Django takes, of psycopg_pool or of ours: the application's, not Django's."""

from ast import literal_eval

import pytest

from support.postgres import Postgres
from support.programs import run

PROGRAM = """
import logging, sys, time
logging.disable()  # Nobody receives its reports.

import django
from django.conf import settings

kind, host, port, user, name = sys.argv[1:]
database = {
    "ENGINE": "django.db.backends.postgresql",
    "HOST": host, "PORT": port, "USER": user, "NAME": name,
    "OPTIONS": {"pool": {"min_size": 1, "max_size": 2, "timeout": 10}},
}
settings.configure(DATABASES={"default": database}, USE_TZ=True)
django.setup()

from django.db import connection, models, transaction
import poolhouse
from poolhouse.instrumentation import pools, psycopg_pool as watched

class Order(models.Model):
    class Meta:
        app_label = "shop"
        db_table = kind

def prepare():
    with connection.schema_editor() as editor:
        editor.create_model(Order)
    connection.close()  # The end of a request gives the connection back.

def told():
    (source,) = (pools if kind == "ours" else watched)._sources.values()
    return {site.site: (site.open, site.returned) for site in source.read(1).signs.sites}

def close(times):
    # A pool of ours counts a return when its worker has made the connection fit for the next.
    connection.close()
    end = time.monotonic() + 30
    while sum(returned for _, returned in told().values()) < times and time.monotonic() < end:
        time.sleep(0.01)

def list_orders():
    return list(Order.objects.all())

def place_order():
    with transaction.atomic():
        Order.objects.create()

if kind == "ours":
    connection._connection_pools["default"] = poolhouse.ConnectionPool(
        kwargs=connection.get_connection_params() | {"autocommit": True},
        min_size=1, max_size=2, open=False, configure=connection._configure_connection,
    )
poolhouse.watch(connection.pool)
prepare()
for times, page in enumerate((list_orders, place_order, list_orders), 2):
    page()
    print("out", sorted(told().items()))
    close(times)
print("back", sorted(told().items()))
connection.close_pool()
"""


@pytest.mark.parametrize("kind", ["psycopg_pool", "ours"])
def test_django_s_connections_are_held_by_the_application_s_lines(kind: str, postgres: Postgres) -> None:
    printed = run(PROGRAM, kind, "127.0.0.1", str(postgres.port), "postgres", "postgres").splitlines()
    assert [line.split(" ", 1)[0] for line in printed] == ["out", "out", "out", "back"]
    sites = {words: counts for line in printed for words, counts in literal_eval(line.split(" ", 1)[1])}
    by_function = {words.rpartition(" in ")[2]: counts for words, counts in sites.items()}
    assert by_function == {"prepare": (0, 1), "list_orders": (0, 2), "place_order": (0, 1)}, printed
    assert "in list_orders', (1, 0)" in printed[0]
    assert "in place_order', (1, 0)" in printed[1]
