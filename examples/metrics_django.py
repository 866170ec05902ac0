"""A Django site in one file that exports the metrics of its psycopg pool to Prometheus.

    pip install '.[prometheus]' django 'psycopg[binary,pool]' gunicorn
    export DATABASE='host=db.example user=shop dbname=shop'
    gunicorn --threads 4 --bind 127.0.0.1:8000 metrics_django

Prometheus scrapes ``/metrics`` of the site, which has one process. No daemon is needed.
"""

import os
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from psycopg.conninfo import conninfo_to_dict

import poolhouse.prometheus

DATABASE = conninfo_to_dict(os.environ["DATABASE"])


class Shop(AppConfig):
    """The application; `ready` is called once in each process that loads Django."""

    name = "metrics_django"
    path = os.path.dirname(__file__)

    def ready(self) -> None:
        REGISTRY.register(poolhouse.prometheus.collector())


def order(request: HttpRequest) -> JsonResponse:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select 'order 1'")
        return JsonResponse({"order": cursor.fetchone()[0]})


def metrics(request: HttpRequest) -> HttpResponse:
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


urlpatterns = [path("order", order), path("metrics", metrics)]

if not settings.configured:
    engine: dict[str, Any] = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": DATABASE["host"],
        "PORT": DATABASE.get("port", ""),
        "USER": DATABASE.get("user", ""),
        "NAME": DATABASE["dbname"],
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 4, "timeout": 5}},
    }
    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": engine},
        INSTALLED_APPS=["metrics_django.Shop"],
        ROOT_URLCONF="metrics_django",
        USE_TZ=True,
    )
    django.setup(set_prefix=False)

application = WSGIHandler()
