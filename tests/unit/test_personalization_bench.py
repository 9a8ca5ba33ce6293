"""`bench personalization`: the plan, which settings stand for a method, rows, tables, the record."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from peer.bench.measured import Measured
from peer.bench.personalization_networks import (
    NETWORKS,
    SILENT,
    STATIC,
    UNDIRECTED,
    graph_of,
    links_of,
    network_of_agents,
    speeds_of,
)
from peer.bench.personalization_plan import METHODS, quick_plan, whole_plan
from peer.bench.personalization_rows import alone_and_combined, rows_of, verdict
from peer.bench.personalization_runs import (
    ALL_LABELS,
    CHOICES,
    NO_NETWORK,
    OURS,
    TRACKING,
    TUNED_WITH,
    Moment,
    Run,
    Scale,
    Score,
    grid_of,
    perform,
    place_of,
    sends,
    with_data,
)
from peer.bench.personalization_tables import CAPTION, COLUMNS, comma_separated, markdown, tables_of
from peer.errors import HyperpushError, SettingError
from peer.rivals.registry import SETTINGS

if TYPE_CHECKING:
    from pathlib import Path

    from peer.bench.personalization_plan import Plan

SCALE = Scale("digits", 4, 10)


def score(validation: float, test: float, after: float | None = None) -> Score:
    """Two agents, 0.1 apart."""

    def moment(mean: float, chosen_by: float) -> Moment:
        return Moment((chosen_by, chosen_by), (mean - 0.05, mean + 0.05))

    return Score(
        moment(test, validation),
        None if after is None else moment(after, validation + 0.01),
        2_000_000,
        10,
        3.0,
    )


def all_known(plan: Plan) -> dict[Run, Score]:
    """Later settings look better on validation samples and are worse on test samples."""
    known = {
        one: score(0.5 + one.setting / 100, 0.9 - one.setting / 100 + one.seed / 1000, after=0.8)
        for one in plan.first()
    }
    for one in plan.then(known):
        known[one] = score(0.5, 0.7 + one.seed / 100)
    return known


# ---- plan


def test_the_whole_plan_has_three_tables_and_equal_budgets() -> None:
    plan = whole_plan(SCALE, 100, 3)
    assert [section.name for section in plan.sections] == ["networks", "many agents", "groups"]
    first = list(plan.first())
    assert len(set(first)) == len(first)
    assert all(one.seed == TUNED_WITH for one in first)
    assert all(one.scale.agents == 4 for one in first)  # settings are not chosen with many agents
    for method in METHODS:
        if method not in (ALL_LABELS, TRACKING):
            assert len(grid_of(method)) == SETTINGS
            own = [one for one in first if one.method == method and one.scale == SCALE]
            assert len(own) == SETTINGS * (len(NETWORKS) if sends(method) else 2), (
                "or with speeds, and without"
            )
    known = all_known(plan)
    assert not list(plan.then(known))
    seeds = {one.seed for one in known if one.method == OURS and one.scale == SCALE}
    assert seeds == {0, 1, 2}
    assert {one.network for one in known if one.scale.agents == 100 and one.method == OURS} == {
        "directed",
        SILENT,
    }


def test_settings_are_chosen_on_validation_samples_alone_and_once_per_network() -> None:
    plan = whole_plan(SCALE, 100, 2)
    known = all_known(plan)
    main, large = plan.sections[:2]
    assert plan.chosen(main, SILENT, OURS, known) == (SETTINGS - 1, True)  # the worst on test samples
    better = Run(SCALE, SILENT, OURS, 2, TUNED_WITH)
    known[better] = score(0.99, 0.1)
    assert plan.chosen(main, SILENT, OURS, known) == (2, False)
    assert plan.chosen(large, SILENT, OURS, known) == (2, False)
    assert plan.chosen(main, "directed", OURS, known) == (SETTINGS - 1, True)
    known[Run(SCALE, NO_NETWORK, "local only", 3, TUNED_WITH)] = score(0.99, 0.1)
    assert plan.chosen(main, "directed", ALL_LABELS, known) == (3, False)
    known[Run(SCALE, SILENT, "local only", 1, TUNED_WITH)] = score(0.99, 0.1)
    assert plan.chosen(main, SILENT, ALL_LABELS, known) == (1, False), "at other speeds"
    del known[better]
    assert plan.chosen(main, SILENT, OURS, known) is None, "not all settings are known"


def test_a_quick_plan_is_small_and_groups_are_not_grouped_again() -> None:
    assert len(list(quick_plan(SCALE).first())) < 150
    larger = quick_plan(SCALE, 9, 2, ("full", SILENT))
    assert [(one.scale.agents, one.networks, one.seeds) for one in larger.sections] == [
        (4, ("full", SILENT), 2),
        (9, (SILENT,), 1),
    ]
    assert len(quick_plan(SCALE, 9, 1, ("full",)).sections) == 1
    assert len(whole_plan(SCALE, 0, 1, groups=False).sections) == 1
    grouped = Scale("digits", 4, 10, partition="permuted:2")
    assert [section.name for section in whole_plan(grouped, 0, 1).sections] == ["networks"]


# ---- rows


def test_rows_say_what_was_measured_at_the_better_moment() -> None:
    plan = whole_plan(SCALE, 0, 2)
    rows = rows_of(plan, all_known(plan))
    assert len(rows) == len(METHODS) * (len(NETWORKS) + 1)
    row = next(row for row in rows if row.method == OURS and row.network == SILENT)
    assert row.setting == CHOICES[-1]
    assert row.seeds == (0, 1)
    # With seed 0 the moment after averaging is better on validation samples: it counts, and seed 1 has none.
    assert row.means == pytest.approx((80.0, 71.0))
    assert row.mean == pytest.approx(75.5)
    assert row.spread == pytest.approx(9.0)
    assert row.bottom_decile == pytest.approx((76.0 + 67.0) / 2)
    assert row.before == pytest.approx((85.0 + 71.0) / 2)
    assert math.isnan(row.after)
    assert row.megabytes == 2.0
    singles = alone_and_combined(plan, all_known(plan))
    assert [one.setting for one in singles[:SETTINGS]] == list(CHOICES)


def test_what_is_not_known_yet_has_no_row() -> None:
    plan = whole_plan(SCALE, 0, 2)
    assert list(plan.then({})) == []
    alone = {
        Run(SCALE, NO_NETWORK, "local only", number, TUNED_WITH): score(0.5, 0.6)
        for number in range(SETTINGS)
    }
    rows = rows_of(plan, alone)
    assert {row.method for row in rows} == {"local only"}
    assert list(verdict(rows)) == []
    some = dict(list(alone.items())[:-1])
    assert rows_of(plan, some) == [], "another setting may be better"
    own = {Run(SCALE, SILENT, OURS, number, TUNED_WITH): score(0.5, 0.6) for number in range(SETTINGS)}
    assert [row.method for row in rows_of(plan, own)] == [OURS]
    assert list(verdict(rows_of(plan, own))) == []
    assert [row.setting for row in alone_and_combined(plan, dict([next(iter(own.items()))]))] == [CHOICES[0]]
    assert not alone_and_combined(replace(plan, methods=("Ditto",)), own)


def test_the_verdict_names_the_best_other_and_the_spread() -> None:
    plan = whole_plan(SCALE, 0, 2)
    known = {one: score(0.5, 0.6) for one in plan.first()}
    for one in plan.then(known):
        known[one] = score(0.5, 0.6 + one.seed / 100)
    for seed in (0, 1):
        known[Run(SCALE, SILENT, OURS, 0, seed)] = score(0.6, 0.7 + seed / 100)
        known[Run(SCALE, SILENT, "FedALA", 0, seed)] = score(0.6, 0.65 + seed / 100)
    told = list(verdict(rows_of(plan, known)))
    assert (
        "networks, silent: logits +5.0 points against the best other, FedALA, by seed +5.0, +5.0; more than "
        "the spread, 1.0" in told
    )
    assert any(line.startswith("networks, full: logits +0.0 points") and "no more" in line for line in told)
    assert told[-1] == "from the perfect network to silent loss ours changes by +10.0 points"
    for seed in (0, 1):
        known[Run(SCALE, SILENT, ALL_LABELS, 0, seed)] = score(0.5, 0.71 + seed / 100)
    del known[Run(SCALE, SILENT, "FedALA", 0, 1)]
    told = list(verdict(rows_of(plan, known)))
    assert any("silent: logits -1.0 points against the best other, local, train + val" in one for one in told)


def test_tables_for_people_and_programs() -> None:
    plan = quick_plan(SCALE)
    rows = rows_of(plan, all_known(plan))
    assert [table.row_count for table in tables_of(rows)] == [len(METHODS)] * 2
    text = markdown(rows)
    assert text.count("### networks: ") == 2
    assert "| hyperpush | mixture:3+logits | 80.0 | 76.0 | 85.0 | 80.0 | 2 | 3 |" in text
    lines = comma_separated(rows).splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == len(rows) + 1
    assert "averaging" in CAPTION


# ---- networks


def test_agents_and_methods_have_the_same_links() -> None:
    rates = graph_of(UNDIRECTED, 5, 1).rates
    assert torch.equal(rates, rates.T)
    for network in NETWORKS:
        given = network_of_agents(network, 5, 1, 0.05)
        assert (given.speeds is not None) == (network == SILENT)
        assert links_of(network, 5, 1, 1).rounds(10) == (32 if network == SILENT else 10)
        if network == SILENT:
            assert given.faults.drop == 0.3
            continue
        rates = graph_of(network, 5, 1).rates
        for (source, target), faults in given.faults.links.items():
            rate = float(rates[int(target.split("-")[1]), int(source.split("-")[1])])
            assert faults.drop == pytest.approx(1 - rate)
        assert len(given.faults.links) == int((rates < 1).sum())
    assert any(faults.drop == 1.0 for faults in network_of_agents(STATIC, 8, 1, 0.05).faults.links.values())
    speeds = speeds_of(4)
    assert max(speeds) / min(speeds) == pytest.approx(10)


# ---- runs and the record


@pytest.mark.parametrize("method", ["local only", ALL_LABELS, "FedEM", OURS])
def test_a_run_scores_all_agents_and_repeats(method: str) -> None:
    scale = Scale("digits", 3, 12)
    network = place_of(method, "directed")
    one = Run(scale, network, method, 0, 1)
    found, again = perform(one), perform(one)
    assert found.before == again.before
    assert found.after == again.after
    assert found.before is not None
    assert len(found.before.test) == len(found.before.validation) == 3
    assert (found.bytes > 0) == sends(method)
    assert found.at(after=False) == found.before
    assert found.at(after=True) == (found.after or found.before)


def test_who_learns_alone_does_so_at_its_speed() -> None:
    """At speeds 10x apart the slow take fewer steps than where all are alike."""
    alike, apart = (
        perform(Run(Scale("digits", 3, 12), place_of("local only", network), "local only", 0, 1)).before
        for network in ("full", SILENT)
    )
    assert alike.test[1] == apart.test[1], "speed 1"
    assert alike.test[0] != apart.test[0]


def test_keys_tell_runs_apart() -> None:
    runs = {
        Run(scale, network, method, setting, seed)
        for scale in (SCALE, Scale("digits", 4, 11), Scale("digits", 4, 10, samples=900))
        for network in (SILENT, "full")
        for method in (OURS, "Ditto")
        for setting in (0, 1)
        for seed in (0, 1)
    }
    assert len({one.key for one in runs}) == len(runs)


def test_a_record_knows_other_samples_of_the_same_shape(tmp_path: Path) -> None:
    """Fingerprints of tasks do not tell those of two folders apart."""
    kept = []
    for seed in (0, 1, 1):
        folder = tmp_path / f"{seed}"
        folder.mkdir(exist_ok=True)
        numbers = np.random.default_rng(seed)
        for agent in range(2):
            parts = {"train": 12, "val": 6, "test": 6}
            samples = {f"x_{part}": numbers.normal(size=(count, 3)) for part, count in parts.items()}
            labels = {f"y_{part}": np.arange(count) % 2 for part, count in parts.items()}
            np.savez(folder / f"agent-{agent}.npz", **samples, **labels)
        scale = with_data(Scale("folder", 2, 10, data_dir=str(folder)))
        kept.append(Run(scale, "full", OURS, 0, 0).key)
    assert kept[0] != kept[1] == kept[2]


def test_tasks_without_classes_are_refused() -> None:
    with pytest.raises(SettingError, match="give a task with test samples of classes"):
        perform(Run(Scale("synthetic", 3, 2), "full", OURS, 0, 0))


def test_a_record_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "results"
    record = Measured(path, resume=False, benchmark="personalization", of="peer.errors")
    record.add("one", {"x": 1.5})
    record.close()
    with path.open("ab") as file:
        file.write(b'{"key": "two", "code": "elsewhere", "result": {}}\n{"key": "cut sho')
    again = Measured(path, resume=True, benchmark="personalization", of="peer.errors")
    assert again.found == {"one": {"x": 1.5}, "two": {}}
    assert again.by_other_code(["one", "two"]) == 1
    again.add("three", {"x": 2})
    again.close()
    lines = path.read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines[1:]] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"something else\n", "is no record of hyperpush bench tuning"),
        (b"no line", "is no record of hyperpush bench tuning"),
        (b'{"record": "hyperpush bench tuning", "format": 1}\n[]\n', "has no result in line 2"),
        (b'{"record": "hyperpush bench tuning", "format": 1}\n{"key": 3}\n', "has no result in line 2"),
        (b'{"record": "hyperpush bench tuning", "format": 1}\nwords\n', "has no result in line 2"),
    ],
)
def test_what_is_no_record_is_left_alone(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_bytes(content)
    with pytest.raises(HyperpushError, match=told):
        Measured(path, resume=True, benchmark="tuning", of="peer.errors")
    assert path.read_bytes() == content
    with pytest.raises(HyperpushError, match="is there already; give --resume"):
        Measured(path, resume=False, benchmark="tuning", of="peer.errors")
    with pytest.raises(SettingError, match="give the --record to go on with"):
        Measured(None, resume=True, benchmark="tuning", of="peer.errors")
