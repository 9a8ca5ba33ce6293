"""For all tests: those of properties are as deterministic as the others, and none is timed.

`pytest --hypothesis-profile default` draws other examples each time.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "the same each time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("the same each time")
