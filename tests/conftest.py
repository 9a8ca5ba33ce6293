"""For all tests: those of properties are as deterministic as the others, and none is timed.

torch begins each process with another seed: modules that are made while tests are collected, or in a test
that does not seed, would differ from run to run.

`pytest --hypothesis-profile default` draws other examples each time.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "the same each time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("the same each time")

torch.manual_seed(0)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)
