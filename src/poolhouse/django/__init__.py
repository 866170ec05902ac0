"""poolhouse as an application of Django: ``INSTALLED_APPS = ["poolhouse.django", …]``.

It watches every pool that a database of the settings has by ``OPTIONS["pool"]``, whenever Django makes it, after a
fork too. ``POOLHOUSE = {"program": "shop", "report": "collectd://monitor:25827/"}`` says where reports go and how
the program is called there. `poolhouse.django.urls` has the views ``readyz`` and ``metrics``; the database engine
``poolhouse.django.postgresql`` is Django's own over a pool of poolhouse.
"""
