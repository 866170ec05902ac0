"""A Django site in one file, whose pool of psycopg is watched in every worker.

    pip install '.[all]' django 'psycopg[binary,pool]' gunicorn
    connmond &
    export POOLHOUSE_REPORT='collectd://localhost:25827'
    export DATABASE='host=db.example user=shop dbname=shop'
    gunicorn --preload --workers 2 --bind 127.0.0.1:8000 django_site

``/order`` answers with the id of the process that served it, ``/readyz`` says whether its pool can serve.
"""

import os
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from psycopg.conninfo import conninfo_to_dict

DATABASE = conninfo_to_dict(os.environ["DATABASE"])


def order(request: HttpRequest) -> JsonResponse:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("select 'order 1'")
        return JsonResponse({"order": cursor.fetchone()[0], "pid": os.getpid()})


urlpatterns = [path("order", order), path("", include("poolhouse.django.urls"))]

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
        INSTALLED_APPS=["poolhouse.django"],
        POOLHOUSE={"program": "shop"},
        ROOT_URLCONF="django_site",
        USE_TZ=True,
    )
    django.setup(set_prefix=False)

application = WSGIHandler()
