"""The database engine ``poolhouse.django.postgresql``: Django's PostgreSQL with a pool of poolhouse."""
