"""The synthetic mixture of the FedEM paper: what is drawn has the distributions that it says."""

from __future__ import annotations

import numpy as np
import pytest

from peer.data.mixture import CONCENTRATION, DIMENSION, MODELS, TEST_SAMPLES, draw_models, draw_samples


def test_labels_are_those_of_the_model_behind_them_but_for_noise() -> None:
    theta = draw_models(np.random.default_rng(0))
    assert theta.shape == (MODELS, DIMENSION)
    assert np.abs(theta).max() <= 1
    drawn = draw_samples(theta, np.random.default_rng(1))
    outputs = (drawn.inputs.astype(np.float64) * theta[drawn.models]).sum(axis=1)
    agree = (outputs > 0) == drawn.labels
    assert agree.mean() > 0.96, "the noise, 0.1, is small beside the outputs, 4"
    assert agree[np.abs(outputs) > 0.6].all()
    assert not agree.all()
    other = (drawn.inputs * theta[(drawn.models + 1) % MODELS]).sum(axis=1) > 0
    assert (other == drawn.labels).mean() == pytest.approx(0.5, abs=0.15)


def test_sizes_weights_and_inputs_are_as_in_the_paper() -> None:
    theta = draw_models(np.random.default_rng(0))
    agents = [draw_samples(theta, np.random.default_rng([2, agent])) for agent in range(300)]
    known = np.array([one.train + one.validation for one in agents])
    assert known.min() >= 50
    assert known.max() == 1000
    assert np.median(known) == pytest.approx(50 + np.exp(4), rel=0.2)
    for one in agents[:20]:
        assert len(one.labels) == len(one.inputs) == one.train + one.validation + TEST_SAMPLES
        assert one.validation == pytest.approx((one.train + one.validation) / 4, abs=0.5)
        assert one.inputs.dtype == np.float32
    weights = np.stack([one.weights for one in agents])
    assert weights.sum(axis=1) == pytest.approx(1.0)
    spread = (MODELS - 1) / (MODELS**2 * (MODELS * CONCENTRATION + 1))
    assert weights.var(axis=0).mean() == pytest.approx(spread, rel=0.15)
    shares = np.stack([np.bincount(one.models, minlength=MODELS) / len(one.models) for one in agents])
    assert np.abs(shares - weights).mean() < 0.02
    inputs = agents[0].inputs
    assert inputs.var() == pytest.approx(1 / 3, rel=0.02)
    assert np.abs(inputs).max() <= 1
