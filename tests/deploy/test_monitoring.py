"""Alerts and dashboard: metrics are those that agents have, expressions give something, alerts go off."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Final

import pytest
from prometheus_client.core import CounterMetricFamily

from peer.metrics import FAMILIES, MESSAGES, PREFIX
from peer.phase import Phase
from tests.deploy.pages import DEPLOY
from wire import RejectReason

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
DASHBOARD = DEPLOY / "grafana" / "hyperpush.json"

# Of labels that have only so many values, which.
VALUES: Final = {
    "hyperpush_phase": {"phase": {phase.value for phase in Phase}},
    "hyperpush_loss": {"of": {"training", "validation"}},
    "hyperpush_accuracy_ratio": {"model": {"shared", "personal"}, "scope": {"agent", "swarm"}},
    "hyperpush_peers": {
        "state": {"alive", "hears", "heard_by", "pushes_to", "quarantined", "incompatible"},
    },
    "hyperpush_messages_total": {"what": set(MESSAGES)},
    "hyperpush_rejected_messages_total": {"reason": {str(reason) for reason in RejectReason}},
    "hyperpush_link_disagreement_ratio": {"of": {"model", "adjoint"}},
}


def all_metrics() -> dict[str, dict[str, set[str]]]:
    """What /metrics of an agent has: names, and the labels of each with their values (none: any)."""
    found = {}
    for name, (kind, _, labels, _) in FAMILIES.items():
        full = f"{PREFIX}{name}{'_total' if kind is CounterMetricFamily else ''}"
        known = VALUES.get(full, {})
        found[full] = {"agent": set()} | {label: known.get(label, set()) for label in labels}
    return found


METRICS: Final = all_metrics()
OF_PROCESSES = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}
AGENT = 'job="hyperpush", instance="10.0.0.1:7701"'
TRUTH = {"$swarm": "s", "$agent": ".*", "$__rate_interval": "1m"}


def panels() -> list[dict[str, Any]]:
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert isinstance(found, list)
    return [panel for panel in found if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def series(value: str) -> list[dict[str, str]]:
    """One agent with every metric, as Prometheus would have scraped it; of each label every value."""
    found = []
    for name, labels in METRICS.items():
        matches = [""]
        for label, values in labels.items():
            known = sorted(values) or [
                {"agent": "me", "peer": "me", "swarm": "s", "version": "1", "name": "f1.shared"}[label]
            ]
            matches = [f'{before}, {label}="{one}"' for before in matches for one in known]
        shown = "1" if name in ("hyperpush_info", "hyperpush_phase") else value
        found += [{"series": f"{name}{{{AGENT}{match}}}", "values": f"{shown}x60"} for match in matches]
    found += [{"series": f"{name}{{{AGENT}}}", "values": f"{value}x60"} for name in sorted(OF_PROCESSES)]
    return found


@pytest.mark.parametrize("path", [ALERTS, DASHBOARD], ids=lambda path: path.name)
def test_agents_have_every_metric_label_and_value(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('\\"', '"')
    used = set(re.findall(r"\bhyperpush_[a-z_]+", text))
    assert used
    assert used <= METRICS.keys()
    for name, matchers in re.findall(r"\b(hyperpush_[a-z_]+)\{([^}]*)\}", text):
        for label, wanted in re.findall(r'(\w+)\s*[=!]~?"([^"]*)"', matchers):
            assert label in {*METRICS[name], "job", "instance"}, f"{name}: {label}"
            if METRICS[name].get(label):
                assert set(wanted.split("|")) <= METRICS[name][label], f"{name}: {wanted}"
    by = set(re.findall(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}", text))
    labels = {label for metric in METRICS.values() for label in metric}
    assert by <= labels | {"job", "instance", "agent"}


def test_every_metric_is_shown_or_left_out_on_purpose() -> None:
    """Of the tick interval the rate of ticks is shown; a problem's own metrics have units that nobody else
    knows; the others are in `hyperpush status`."""
    shown = set(re.findall(r"\bhyperpush_[a-z_]+", DASHBOARD.read_text(encoding="utf-8")))
    assert METRICS.keys() - shown == {
        "hyperpush_tick_interval_seconds",
        "hyperpush_uptime_seconds",
        "hyperpush_incarnation",
        "hyperpush_test_metric",
    }


def test_the_dashboard_fits_its_frame() -> None:
    """Ids once each, no panel over another, each with a sentence that says what it shows."""
    whole = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in whole}) == len(whole)
    taken: set[tuple[int, int]] = set()
    for panel in whole:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    assert all(panel["description"].endswith(".") for panel in panels())
    folder = DEPLOY / "grafana" / "provisioning"
    assert "uid: prometheus" in (folder / "datasources" / "prometheus.yaml").read_text(encoding="utf-8")


def promtool(tmp_path: Path, content: object, *command: str) -> str:
    """What it says of a file with this content: YAML is what JSON is, and more. Skips without it."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    file = tmp_path / "content.yaml"
    file.write_text(json.dumps(content), encoding="utf-8")
    told = subprocess.run(["promtool", *command, str(file)], check=False, capture_output=True, text=True)  # noqa: S607  (wherever it is)
    assert told.returncode == 0, told.stdout + told.stderr
    return told.stdout


def test_every_panel_has_something_to_show(tmp_path: Path) -> None:
    """Each expression on the metrics of one agent; nothing comes of one whose labels do not match."""

    def filled(expression: str) -> str:
        for variable, value in TRUTH.items():
            expression = expression.replace(variable, value)
        return expression

    cases = [
        {"expr": f"count({filled(expression)}) > bool 0", "eval_time": "10m"} for expression in expressions()
    ]
    assert len(cases) > 25
    expected = [{"labels": "{}", "value": 1}]
    test = {
        "interval": "15s",
        "input_series": series("1+1"),
        "promql_expr_test": [{**case, "exp_samples": expected} for case in cases],
    }
    promtool(tmp_path, {"tests": [test]}, "test", "rules")


def cases() -> Iterator[tuple[str, str, str, dict[str, str]]]:
    """Alert, series, its values every minute for two hours and a half, labels beside those of the agent."""
    hours = "x150"
    yield "HyperpushAgentDown", f"up{{{AGENT}}}", f"0{hours}", {}
    yield (
        "HyperpushAgentNotReady",
        f'hyperpush_phase{{{AGENT}, phase="running"}}',
        f"0{hours}",
        {"phase": "running"},
    )
    yield "HyperpushAgentStandsStill", f"hyperpush_ticks_total{{{AGENT}}}", f"7{hours}", {}
    for state, alert, value in (
        ("hears", "HyperpushAgentHearsNobody", "0"),
        ("heard_by", "HyperpushAgentIsNotHeard", "0"),
        ("quarantined", "HyperpushPeerQuarantined", "1"),
        ("incompatible", "HyperpushPeerDoesNotFit", "2"),
    ):
        yield alert, f'hyperpush_peers{{{AGENT}, state="{state}"}}', f"{value}{hours}", {"state": state}
    yield "HyperpushLossIsHigh", f'hyperpush_link_loss_ratio{{{AGENT}, peer="a"}}', f"0.7{hours}", {}
    yield "HyperpushResidualDoesNotFall", f"hyperpush_residual_ratio{{{AGENT}}}", f"0.9{hours}", {}
    yield (
        "HyperpushMessagesRejected",
        f'hyperpush_rejected_messages_total{{{AGENT}, reason="wrong_key"}}',
        f"0+60{hours}",
        {"reason": "wrong_key"},
    )
    yield "HyperpushCheckpointIsOld", f"hyperpush_checkpoint_age_seconds{{{AGENT}}}", f"0+60{hours}", {}


QUIET = (
    f"up{{{AGENT}}} 1x150",
    f'hyperpush_phase{{{AGENT}, phase="running"}} 1x150',
    f"hyperpush_ticks_total{{{AGENT}}} 0+1200x150",
    f'hyperpush_peers{{{AGENT}, state="hears"}} 4x150',
    f'hyperpush_peers{{{AGENT}, state="heard_by"}} 4x150',
    f'hyperpush_peers{{{AGENT}, state="quarantined"}} 0x150',
    f'hyperpush_peers{{{AGENT}, state="incompatible"}} 0x150',
    f'hyperpush_link_loss_ratio{{{AGENT}, peer="a"}} 0.2x150',
    f"hyperpush_residual_ratio{{{AGENT}}} 0.9-0.004x150",
    f'hyperpush_rejected_messages_total{{{AGENT}, reason="unknown_sender"}} 0+60x150',
    f"hyperpush_checkpoint_age_seconds{{{AGENT}}} 20x150",
    f'hyperpush_info{{{AGENT}, peer="me", swarm="s"}} 1x150',
)


SHOWN = ("job", "instance", "phase", "state", "reason", "swarm", "peer")


def judged(alerts: dict[str, list[dict[str, str]]], given: list[dict[str, str]]) -> dict[str, Any]:
    """A case for promtool: after two hours and a half exactly these alerts, of those that there are."""
    names = re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))
    assert set(alerts) <= set(names)
    return {
        "interval": "1m",
        "input_series": given,
        "promql_expr_test": [
            {
                "expr": f"count by ({', '.join(SHOWN)}) (ALERTS{{alertname='{name}', alertstate='firing'}})",
                "eval_time": "150m",
                "exp_samples": [
                    {"labels": "{" + ", ".join(f'{k}="{v}"' for k, v in labels.items()) + "}", "value": 1}
                    for labels in alerts.get(name, [])
                ],
            }
            for name in names
        ],
    }


def test_alerts_go_off_for_what_they_name_and_for_nothing_else(tmp_path: Path) -> None:
    """Each on its own, after hours in which one thing is wrong; none while all is well."""
    own = {"job": "hyperpush", "instance": "10.0.0.1:7701"}
    tests = [
        judged({alert: [{**own, **labels}]}, [{"series": what, "values": values}])
        for alert, what, values, labels in cases()
    ]
    quiet = [line.rsplit(" ", 1) for line in QUIET]
    tests.append(judged({}, [{"series": what, "values": values} for what, values in quiet]))
    info = f'hyperpush_info{{{AGENT}, peer="me", swarm="s"}}'
    left = {"job": "hyperpush", "swarm": "s", "peer": "me"}
    tests.append(judged({"HyperpushAgentGone": [left]}, [{"series": info, "values": "1x60 stale"}]))
    alerts = re.findall(r"- alert: \w+", ALERTS.read_text(encoding="utf-8"))
    assert len(tests) == len(alerts) + 1, "a case for each, and one without any"
    promtool(tmp_path, {"rule_files": [str(ALERTS)], "tests": tests}, "test", "rules")


def test_prometheus_understands_its_files(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, of Debian's package prometheus")
    for name in ("prometheus.yaml", "alerts.yaml"):
        text = (DEPLOY / "prometheus" / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/token/admin.token", "token"), encoding="utf-8")
    (tmp_path / "token").touch()
    told = subprocess.run(
        ["promtool", "check", "config", str(tmp_path / "prometheus.yaml")],  # noqa: S607  (wherever it is)
        check=False,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert "12 rules found" in told.stdout
