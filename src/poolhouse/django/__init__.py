"""poolhouse as a Django application: ``INSTALLED_APPS = ["poolhouse.django", …]``.

It watches every pool that a database in the settings has through ``OPTIONS["pool"]``, whenever Django makes it,
also after a fork. ``POOLHOUSE = {"program": "shop", "report": "collectd://monitor:25827/"}`` sets where reports go
and the program's name there. `poolhouse.django.urls` has the views ``readyz`` and ``metrics``; the database engine
``poolhouse.django.postgresql`` is Django's own with a pool of poolhouse.
"""
