"""The synthetic data of the FedEM paper: every agent's data are a mixture of a few underlying distributions.

Marfoq, Neglia, Bellet, Kameni, Vidal: Federated Multi-Task Learning under a Mixture of Distributions
(2021), Assumption 1: p_i(x, y) = sum_m pi_im p_m(x, y), with one marginal of x everywhere (Assumption 2). The
numbers are those of the authors' program (`data/synthetic` beside their paper), which draws

    theta_m ~ U[-1, 1]^150                     M = 3 linear models
    pi_i    ~ Dir(0.4)                         how much of each is in agent i
    n_i     = min(50 + LogNormal(4, 2), 1000)  how many samples it has to learn from
    x       ~ U[-1, 1]^150,   z ~ pi_i,   e ~ N(0, 0.1^2)
    y       = 1 if sigmoid(<x, theta_z> + e) > 1/2 else 0

A quarter of n_i is for validation. For testing everybody has `TEST_SAMPLES` more, where they have 5,000.
No linear model fits everybody; whoever knows to which mixture it belongs does better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MODELS: Final = 3
DIMENSION: Final = 150
CONCENTRATION: Final = 0.4
NOISE: Final = 0.1
SAMPLES_MIN, SAMPLES_MAX = 50, 1000
LOG_MEAN, LOG_SPREAD = 4.0, 2.0
VALIDATION: Final = 0.25
TEST_SAMPLES: Final = 1000


class Drawn(NamedTuple):
    """The samples of one agent: to learn from first, then those for testing."""

    inputs: NDArray[np.float32]  # (n + TEST_SAMPLES, DIMENSION)
    labels: NDArray[np.int64]  # 0 or 1
    weights: Floats  # pi_i, (MODELS,)
    models: NDArray[np.int64]  # z: which of them made each label
    train: int  # so many to train on, then
    validation: int  # so many to validate with; the rest is for testing


def draw_models(generator: Generator) -> Floats:
    """theta, of shape (MODELS, DIMENSION): the same at all agents, so drawn from the swarm's seed."""
    return generator.uniform(-1.0, 1.0, (MODELS, DIMENSION))


def draw_samples(theta: Floats, generator: Generator) -> Drawn:
    """The samples of one agent, from a generator of its own."""
    weights = generator.dirichlet(np.full(len(theta), CONCENTRATION))
    known = min(SAMPLES_MIN + int(min(generator.lognormal(LOG_MEAN, LOG_SPREAD), SAMPLES_MAX)), SAMPLES_MAX)
    count = known + TEST_SAMPLES
    inputs = generator.uniform(-1.0, 1.0, (count, theta.shape[1]))
    models = generator.choice(len(theta), size=count, p=weights)
    outputs = np.einsum("nd,nd->n", inputs, theta[models]) + generator.normal(0.0, NOISE, count)
    validation = round(VALIDATION * known)
    labels = (outputs > 0).astype(np.int64)
    return Drawn(inputs.astype(np.float32), labels, weights, models, known - validation, validation)
