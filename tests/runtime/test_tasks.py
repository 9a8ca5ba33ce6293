"""The built-in tasks: who gets which data, and how results are scored."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from peer.errors import SettingError
from peer.settings import AgentSettings
from peer.tasks import Answer, make_task
from peer.tasks.digits import IMAGES_PER_DEVICE_MIN, make_module, read_digits, split_digits

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES = 1797


def rows(inputs: torch.Tensor, targets: torch.Tensor) -> list[tuple[float, ...]]:
    return [(*image.tolist(), label) for image, label in zip(inputs, targets.tolist(), strict=True)]


def test_digits_are_read_without_loading_scikit_learn_or_else_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = "import sys; from peer.tasks import make_task; make_task('digits', 2, 0, 'bias')"
    told = "print([name for name in ('sklearn', 'scipy') if name in sys.modules])"
    command = [sys.executable, "-c", f"{loads}; {told}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"
    read = read_digits()
    monkeypatch.setattr("peer.tasks.digits.FILE", "elsewhere")
    by_package = read_digits()
    assert np.array_equal(read.inputs, by_package.inputs)
    assert np.array_equal(read.labels, by_package.labels)
    assert read.labels.dtype == by_package.labels.dtype


def test_every_image_is_on_exactly_one_device() -> None:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    expected = sorted(rows(torch.from_numpy(images / 16).float(), torch.from_numpy(labels)))
    found = [
        row
        for data in split_digits(8, seed=0)
        for samples in (data.train, data.validation, data.test)
        for row in rows(*samples)
    ]
    assert len(found) == IMAGES
    assert sorted(found) == expected


@pytest.mark.parametrize("devices", [2, 8, 32])
def test_a_tenth_is_for_training_and_a_fifth_for_validation(devices: int) -> None:
    for data in split_digits(devices, seed=1):
        parts = [len(samples[1]) for samples in (data.train, data.validation, data.test)]
        count = sum(parts)
        assert count >= IMAGES_PER_DEVICE_MIN
        assert parts[0] == pytest.approx(count / 10, abs=0.51)
        assert parts[1] == pytest.approx(count / 5, abs=0.51)


def test_devices_know_few_labels() -> None:
    """Dirichlet(0.4): most devices hold half of their images in three labels; with a uniform draw none do."""
    shares = []
    for data in split_digits(8, seed=0):
        counts = torch.bincount(torch.cat([data.train[1], data.validation[1], data.test[1]]), minlength=10)
        shares.append(float(counts.sort(descending=True).values[:3].sum() / counts.sum()))
    assert sorted(shares)[len(shares) // 2] > 0.5


def test_equal_arguments_give_equal_data_and_models_and_leave_global_randomness_alone() -> None:
    state = torch.get_rng_state()
    first, second = split_digits(4, seed=3), split_digits(4, seed=3)
    assert all(torch.equal(a.train[0], b.train[0]) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0].train[0][0], split_digits(4, seed=4)[0].train[0][0])
    for one, other in zip(make_module(0).parameters(), make_module(0).parameters(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("agents", [120, 500])
def test_too_many_devices_for_the_data_are_refused(agents: int) -> None:
    with pytest.raises(SettingError, match=f"agents: {agents} is not possible; 1797 digits do not give"):
        make_task("digits", agents, 0, "bias")


def test_untrained_digits_agents_score_their_chance_and_training_alone_scores_more() -> None:
    task = make_task("digits", 4, 0, "bias")
    problem = task.problems[0]
    nothing: dict[str, torch.Tensor] = {}
    answer = Answer(problem.model, nothing, nothing, problem.hyperparameters, nothing)
    scores = task.scores(0, answer, AgentSettings(**task.settings), ticks=100)
    assert list(scores) == list(task.columns)
    assert scores["shared"] == scores["personal"] < 0.5
    assert scores["local"] > 0.6
    assert scores["local_all"] > 0.6
    own = {name: scores[name] for name in ("shared", "personal")}
    assert task.scores(0, answer, AgentSettings(**task.settings), 0, lambda: True) == own
    for steps, asked in ((70, 71), (130, 132)):  # while it trains on a part of the data, and on all
        looks = itertools.count()

        def stopped(looks: Iterator[int] = looks, steps: int = steps) -> bool:
            return next(looks) >= steps

        assert task.scores(0, answer, AgentSettings(**task.settings), 100, stopped) == own
        assert next(looks) <= asked + 1, "it stops at once"


def test_synthetic_answers_are_scored_against_the_truth() -> None:
    task = make_task("synthetic", 3, 0, "bias")
    settings = AgentSettings(**task.settings)
    zero = {"x": torch.zeros(20, dtype=torch.float64)}
    start = dict(task.problems[1].hyperparameters)
    nothing = {"h": torch.zeros(3, dtype=torch.float64)}
    far = task.scores(1, Answer(zero, zero, nothing, start, {}), settings, 0)
    assert far == {"model": 1.0, "adjoint": 1.0, "hypergradient": 1.0, "hyperparameters": 0.0}
