"""The application that Django loads for ``INSTALLED_APPS = ["poolhouse.django"]``."""

from django import conf
from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured

from poolhouse.django.options import destination_of
from poolhouse.django.pools import watch_pools
from poolhouse.errors import SettingError
from poolhouse.instrumentation import pools
from poolhouse.report import reporter


class PoolhouseConfig(AppConfig):  # type: ignore[misc]  # Django has no types.
    """The application: `ready` is called once in each process that loads Django, before a server forks."""

    name = "poolhouse.django"
    label = "poolhouse"
    verbose_name = "poolhouse"

    def ready(self) -> None:
        """Set where reports go, and watch the pools of all databases.

        Raises:
            ImproperlyConfigured: If ``POOLHOUSE``, or ``POOLHOUSE_REPORT`` in the environment, is wrong.
        """
        try:
            destination = destination_of(getattr(conf.settings, "POOLHOUSE", {}), reporter.default_destination())
        except SettingError as error:
            raise ImproperlyConfigured(str(error)) from None
        pools.report_at(destination)
        watch_pools()
