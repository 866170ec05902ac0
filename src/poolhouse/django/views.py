"""Views for probes and for Prometheus. None of them takes a database connection."""

from functools import cache
from typing import Any

from django.db import connections
from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from poolhouse.django.pools import pool_of
from poolhouse.instrumentation.readiness import ready
from poolhouse.prometheus import collector
from poolhouse.verdicts.readiness import NOT_OPEN

#: The text for a pool that Django opens with the first query.
_UNUSED = "not used yet"


@non_atomic_requests  # type: ignore[untyped-decorator]
@require_safe  # type: ignore[untyped-decorator]
@never_cache  # type: ignore[untyped-decorator]
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether all databases with a pool can be used now: status 200, otherwise 503.

    The body says for each database ``ready``, or why not. A pool that has not been used counts as ready: Django
    opens it with the first query.
    """
    told = {alias: found for alias in connections if (found := _told(alias)) is not None}
    is_ready = all(ok for ok, _ in told.values())
    body = {"ready": is_ready, "databases": {alias: text for alias, (_, text) in told.items()}}
    return JsonResponse(body, status=200 if is_ready else 503)


@non_atomic_requests  # type: ignore[untyped-decorator]
@require_safe  # type: ignore[untyped-decorator]
@never_cache  # type: ignore[untyped-decorator]
def metrics(request: HttpRequest) -> HttpResponse:
    """The pools of the answering process, for Prometheus, in the format that it requests.

    This needs prometheus-client: without it the status is 501, and the body says what to install.
    """
    try:
        registry = _registry()
    except ModuleNotFoundError as error:
        return HttpResponse(f"{error}\n".encode(), status=501, content_type="text/plain; charset=utf-8")
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(request.META.get("HTTP_ACCEPT", ""))
    return HttpResponse(encode(registry), content_type=content_type)


@cache
def _registry() -> Any:
    """A registry with our collector alone: the process's other metrics have views of their own."""
    found = collector()
    from prometheus_client import CollectorRegistry

    registry = CollectorRegistry()
    registry.register(found)
    return registry


def _told(alias: str) -> tuple[bool, str] | None:
    """Whether a database is ready, and the text for it; ``None`` if it has no pool."""
    try:
        pool = pool_of(alias)
        readiness = None if pool is None else ready(pool)
    except Exception as error:  # Its configuration is wrong; every query fails with the same error.
        return False, type(error).__name__
    if readiness is None:
        return None
    if readiness.reason == NOT_OPEN:
        return True, _UNUSED
    return bool(readiness), str(readiness)
