"""From curvature and network to step size and momentum.

Fitted to what was best on random swarms, see `hyperpush bench tuning`. Agents that average rarely or badly
must step less, and more where curvatures differ more, for then the steep directions are few. Momentum is that
of critical damping (Polyak 1964), more where what is heard is old or missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

STEP_MAX = 1.2  # of all local steps together, times one over the curvature
STEP_FACTOR = 1.0
GAP_POWER = 1.5
CONDITION_POWER = 0.6
LOCAL_STEPS_POWER = 0.25
DAMPING_FACTOR = 0.9
HEARD_POWER = 1.3
DELAY_FACTOR = 0.6
MOMENTUM_MAX = 0.98


@dataclass(frozen=True, slots=True)
class Measured:
    """What the rule goes by: the swarm's averages, as far as an agent knows them."""

    curvature: float  # largest, above 0
    motion_curvature: float  # from 0 to `curvature`
    gap: float  # of averaging, in (0, 1], see `mixing`
    heard: float  # share of its in-neighbours that an agent hears in a tick
    delay_ticks: float  # of a message


def step_and_momentum(measured: Measured, local_steps: int) -> tuple[float, float]:
    """Step size of each of `local_steps` steps between two pushes, and momentum of all of them together."""
    condition = measured.curvature / measured.motion_curvature
    share = STEP_FACTOR * measured.gap**GAP_POWER * condition**CONDITION_POWER
    share = min(STEP_MAX, share * local_steps**LOCAL_STEPS_POWER)
    whole = share / measured.curvature
    damping = DAMPING_FACTOR * measured.heard**HEARD_POWER / (1.0 + DELAY_FACTOR * measured.delay_ticks)
    rate = math.sqrt(min(1.0, damping * whole * measured.motion_curvature))
    return whole / local_steps, min(MOMENTUM_MAX, (1.0 - rate) ** 2)
