"""The database engine ``poolhouse.django.postgresql``: Django's PostgreSQL over a pool of poolhouse."""
