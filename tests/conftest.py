"""What every test stands on."""

from hypothesis import HealthCheck, settings

# The same examples in every run: a failing one is a fact, not luck.
settings.register_profile(
    "poolhouse", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
settings.load_profile("poolhouse")
