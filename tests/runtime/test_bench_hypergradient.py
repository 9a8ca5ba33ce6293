"""`hyperpush bench hypergradient`: what it counts, how it chooses, what it prints, draws and refuses."""

from __future__ import annotations

import importlib.util
import json
import math
import re
from typing import TYPE_CHECKING

import pytest
import torch

from peer.bench import hypergradient, hypergradient_cases
from peer.bench.hypergradient_cases import (
    CRASH,
    DELAYS,
    DIRECT,
    JACOBIAN_PUSH,
    KNOWN,
    NEUMANN,
    NEUMANN_TUNED,
    PERFECT,
    SILENT_LOSS,
    SPEEDS,
    TRACKING,
    Curve,
    Point,
    StandingProducts,
    Task,
    lockstep_curve,
    swarm_of,
    tracking_curve,
)
from peer.bench.hypergradient_summary import envelope, reached, summarize, verdict
from peer.bench.hypergradient_tables import reproduction
from peer.cli import main
from peer.errors import SettingError
from peer.estimators import SwarmProducts
from peer.figure_file import check_figure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def curve(
    *errors: float,
    estimator: str = NEUMANN,
    network: str = KNOWN,
    each: int = 10,
    seed: int = 0,
    setting: float = 1.0,
) -> Curve:
    points = tuple(Point(each * i, 100 * each * i, error) for i, error in enumerate(errors))
    return Curve(Task(3, network, estimator, seed, len(errors), setting), points)


def test_matrices_of_standing_models_are_the_products() -> None:
    problems, truth = swarm_of(3, 0)
    plain, standing = SwarmProducts(problems), StandingProducts(problems, truth.model)
    plain.models = standing.models
    vectors = torch.randn(3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for name in ("adjoint_gradients", "hessian_vectors"):
        assert torch.allclose(getattr(standing, name)(vectors), getattr(plain, name)(vectors), atol=1e-12)
    assert torch.allclose(standing.outer_gradients(), plain.outer_gradients(), atol=1e-12)
    ours, exact = torch.cat(standing.hypergradients(vectors)), torch.cat(plain.hypergradients(vectors))
    assert torch.allclose(ours, exact, atol=1e-12)


def test_neumann_gets_there_where_senders_know_and_not_where_links_lose_silently() -> None:
    """Reference: the issue's table; S = 15 pushes, the step 1 / L."""
    known, silent = (
        lockstep_curve(Task(3, network, NEUMANN_TUNED, 0, 120, 15.0)) for network in (KNOWN, SILENT_LOSS)
    )
    assert reached(known) is not None
    assert known.points[-1].error < 1e-6
    assert reached(silent) is None
    assert silent.points[-1].error > 1e-2
    assert known.points[10].messages < silent.points[10].messages, "what is known to be down is not sent"


def test_tracking_gets_there_although_links_lose_silently() -> None:
    """Reference: DESIGN section 2. The agents themselves; fewer messages than a hundredth of 100,000."""
    found = tracking_curve(Task(3, SILENT_LOSS, TRACKING, 0, 110))
    point = reached(found)
    assert point is not None
    assert point.messages < 1000
    assert point.bytes > 4 * 6 * 8 * point.messages, "four arrays of six float64 numbers in each"


def test_networks_differ_in_what_they_do() -> None:
    tasks = {
        network: Task(3, network, TRACKING, 0, 10) for network in (PERFECT, KNOWN, DELAYS, SPEEDS, CRASH)
    }
    plans = {network: hypergradient_cases.fault_plan(task) for network, task in tasks.items()}
    assert plans[PERFECT] == plans[SPEEDS] == plans[CRASH]
    assert len(plans[KNOWN].links) == 6
    assert all(0.2 <= faults.drop <= 0.6 for faults in plans[KNOWN].links.values())
    rates = hypergradient_cases.lockstep_network(Task(3, KNOWN, NEUMANN, 0, 1)).graph.rates
    assert plans[KNOWN].links["agent-0", "agent-2"].drop == pytest.approx(1 - float(rates[2, 0]))
    kill, back = hypergradient_cases.crash(tasks[CRASH])
    assert kill.agent == back.agent
    assert kill.at_s < back.at_s


def test_direct_has_one_point_and_no_messages() -> None:
    found = lockstep_curve(Task(3, KNOWN, DIRECT, 0, 0))
    assert found.points == (Point(0, 0, 1.0),), "the outer loss does not depend on the decay at all"


def test_equal_tasks_give_equal_curves() -> None:
    for task in (Task(3, KNOWN, JACOBIAN_PUSH, 1, 20, 0.3), Task(3, SILENT_LOSS, TRACKING, 1, 10)):
        assert hypergradient.measure(task) == hypergradient.measure(task)


def test_a_curve_ends_where_no_hope_is_left_unless_it_is_to_be_whole() -> None:
    task = Task(3, SILENT_LOSS, NEUMANN_TUNED, 0, 700, 1.0)
    assert len(lockstep_curve(task).points) < 701 == len(lockstep_curve(task, whole=True).points)


def test_tracking_has_to_stay_at_the_target_and_others_to_touch_it() -> None:
    errors = (1.0, 1e-7, 1e-3, 1e-7, 1e-8)
    touched = reached(curve(*errors))
    stayed = reached(curve(*errors, estimator=TRACKING))
    assert touched is not None
    assert stayed is not None
    assert (touched.messages, stayed.messages) == (10, 30)
    assert reached(curve(1.0, 1e-3, estimator=TRACKING)) is None
    assert reached(curve(1.0, 1e-7, math.nan, estimator=TRACKING)) is None


def test_the_setting_with_the_fewest_messages_is_chosen_and_medians_are_over_seeds() -> None:
    curves = [
        curve(1, 1e-2, 1e-7, setting=2.0, seed=seed, each=each) for seed, each in enumerate((10, 30, 20))
    ]
    curves += [curve(1, 1e-2, 1e-3, 1e-7, setting=5.0, seed=seed) for seed in range(2)]
    curves += [curve(1, 1e-2, 1e-3, 1e-5, setting=5.0, seed=2)]
    (found,) = summarize(curves)
    assert (found.setting, found.messages, found.bytes, found.error) == (5.0, 30.0, 3000.0, 1e-7)
    (never,) = summarize(
        [curve(1, 0.5, setting=1.0), curve(1, 0.1, setting=2.0), curve(1, math.nan, setting=3)]
    )
    assert (never.setting, never.messages, never.error) == (2.0, math.inf, 0.1)
    (broken,) = summarize([curve(1, math.nan)])
    assert math.isnan(broken.error)


@pytest.mark.parametrize(
    ("ours", "theirs", "line"),
    [
        ((1, 1e-7), (1.0,) * 10 + (1e-7,), "silent loss 10 messages; .* 100, 10.0 times .* met"),
        ((1, 1, 1e-7), (1.0,) * 10 + (1e-7,), "5.0 times as many. Target missed: 10 are aimed at"),
        ((1, 1e-3), (1, 1e-7), r"does not get there \(1.0e-03\). Target missed"),
        ((1, 1e-7), (1, 1e-3), r"known to be down does not get there \(1.0e-03\). Target met"),
    ],
)  # fmt: skip
def test_the_verdict(ours: tuple[float, ...], theirs: tuple[float, ...], line: str) -> None:
    curves = [curve(*ours, estimator=TRACKING, network=SILENT_LOSS), curve(*theirs)]
    (found,) = verdict(summarize(curves))
    assert re.search(line, found), found


def test_the_envelope_goes_down_only() -> None:
    costs, errors = envelope([curve(1, 0.5, 0.7, math.nan, 0.1), curve(1, 0.6, 0.2, each=5)])
    assert (costs, errors) == ([5.0, 10.0, 40.0], [0.6, 0.2, 0.1])


def test_the_reference_is_compared_cell_by_cell() -> None:
    """A curve that equals the row of S = 1 but in one cell, by a factor of 3."""
    errors = [1.0] * 501
    for depth, error in zip((10, 50, 100, 200, 500), (0.63, 1.6, 2.4, 2.7, 0.9), strict=True):
        errors[depth] = error
    _, line = reproduction([curve(*errors)])
    assert "in 4 of 5 cells; median factor between the two 1, largest 3." in line


def test_the_command_prints_writes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a tiny size, in this process: what is measured is tested above."""
    monkeypatch.setattr(hypergradient, "PUSHES", {3: (1,), 10: (1,), 0: (1,)})
    monkeypatch.setattr(hypergradient, "JACOBIAN_UPDATES", 3)
    monkeypatch.setattr(hypergradient, "JACOBIAN_STEPS", (0.3,))
    monkeypatch.setattr(hypergradient, "TICKS", {})
    monkeypatch.setattr(hypergradient, "TICKS_ELSEWHERE", 4)
    monkeypatch.setattr(hypergradient, "REFERENCE", {1: (1.0,) * 5})

    done: list[tuple[Task, bool]] = []

    def here(
        function: object, wanted: list[tuple[Task, bool]], workers: object
    ) -> Iterator[tuple[tuple[Task, bool], Curve]]:
        assert workers is not None
        for one in wanted:
            task, whole = one
            if not whole and task.length >= 10:
                task = Task(3, task.network, task.estimator, 0, 8, 1.0)
            done.append(one)
            yield one, hypergradient.measure(task, whole)
            if len(done) == 4:
                raise KeyboardInterrupt

    monkeypatch.setattr(hypergradient, "as_done", here)
    table = tmp_path / "found.json"
    arguments = ["bench", "hypergradient", "--quick", "--agents", "3", "--jobs", "1", "--json", str(table)]
    arguments += ["--record", str(tmp_path / "record")]
    assert main(arguments) == 130
    assert "interrupted; --record FILE --resume would go on" in capsys.readouterr().out
    arguments.append("--resume")
    figure = tmp_path / "found.svg"
    if importlib.util.find_spec("matplotlib") is not None:
        arguments += ["--figure", str(figure)]
    assert main(arguments) == 0
    assert len(set(done)) == len(done)
    printed = capsys.readouterr().out
    for text in ("3 agents, 1 seed", "S", "(2.7)", KNOWN, DELAYS, CRASH, TRACKING, "never", "Target missed"):
        assert text in printed
    assert printed.count("needs common rounds") == 9, "three networks, three estimators"
    content = json.loads(table.read_text())
    assert {one["network"] for one in content["summaries"]} == set(hypergradient_cases.NETWORKS)
    assert all(one["curves"][0]["points"] for one in content["summaries"])
    assert len(content["reference"][0]["errors"]) == 5
    lines = (tmp_path / "record").read_text().splitlines()
    (tmp_path / "record").write_text("\n".join([lines[0], lines[1].replace('"points"', '"lines"')]) + "\n")
    assert main(arguments) == 2
    assert "has a curve with other fields" in capsys.readouterr().err
    if "--figure" in arguments:
        drawn = figure.read_text(encoding="utf-8")
        assert drawn.count('<g id="axes_') == 3


def test_the_plan_covers_everything_once() -> None:
    tasks = hypergradient.Plan((3, 10), 2, quick=False).tasks()
    assert len(set(tasks)) == len(tasks)
    assert {(t.agents, t.seed) for t in tasks} == {(3, 0), (3, 1), (10, 0), (10, 1)}
    assert {t.network for t in tasks if t.estimator == TRACKING} == set(hypergradient_cases.NETWORKS)
    assert hypergradient.Plan((10,), 1, quick=False).reference() == []
    reference = hypergradient.Plan((3,), 1, quick=False).reference()
    assert {task.setting for task in reference} == {1, 2, 5, 10, 100}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--agents", "1"], "--agents: 1 is not possible; give 2 to 200 agents"),
        (["--agents", "3,1000"], "--agents: 1000 is not possible"),
        (["--agents", "x"], "--agents"),
        (["--json", "/nowhere/found.json"], "--json: '/nowhere/found.json' is not possible; give a file in"),
        (
            ["--figure", "/nowhere/found.png"],
            "--figure: '/nowhere/found.png' is not possible; give a file in",
        ),
        (["--figure", "found.txt"], "--figure: 'found.txt' is not possible; give a file that ends in .png"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "hypergradient", *arguments]) == 2
    printed = capsys.readouterr().err
    assert problem in printed
    assert printed.count("\n") == 1


def test_without_matplotlib_nothing_is_measured_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingError, match=r"install matplotlib: pip install 'hyperpush\[plot\]'"):
        check_figure(tmp_path / "found.png")
