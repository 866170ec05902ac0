"""The paths of our views, for ``path("", include("poolhouse.django.urls"))``."""

from django.urls import path

from poolhouse.django import views

urlpatterns = [
    path("readyz", views.readyz, name="poolhouse-readyz"),
    path("metrics", views.metrics, name="poolhouse-metrics"),
]
