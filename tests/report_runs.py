"""Made-up run directories: what the files of a small run hold, with names that may be hostile."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from peer.report.run import Lines, make_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.report.run import Run

HOSTILE = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "[click](javascript:alert(1)) | `code` {{ 7 * 7 }} <b>&amp;",
    "theme:ink %{x} <a href='http://evil.example'>",
)
NAMES = ("agent-0", "agent-1", "agent-2")
SCORES = ("local", "local_all", "shared", "personal")


def config(names: Sequence[str] = NAMES, **more: object) -> dict[str, Any]:
    """As `config.json`."""
    found: dict[str, Any] = {
        "command": "simulate",
        "agents": len(names),
        "task": "digits",
        "seed": 3,
        "until": ["ticks:100"],
        "settings": {"tick_s": 0.05, "fanout": 2, "momentum": None},
        "faults": {
            "drop": 0.2,
            "windows": [
                {"start_s": 2.0, "end_s": 5.0, "faults": None, "sources": [names[0]], "targets": [names[1]]},
                {"start_s": 3.0, "end_s": None, "change": {"drop": 0.5}},
            ],
        },
        "arguments": ["simulate", "--agents", str(len(names)), "--task", "digits; rm -rf ~"],
        "given": [{"option": "agents", "value": len(names), "from": "flag"}],
        "hyperparameters": {"bias": ["cat", "dog"], "class-weights.score": ["cat", "dog"], "pull": [""]},
        "began_at": "2026-01-02T03:04:05+00:00",
        "versions": {"python": "3.11", "hyperpush": "0.1.0"},
    }
    return found | more


def metrics(names: Sequence[str] = NAMES, times: int = 6) -> list[dict[str, Any]]:
    """As the lines of `metrics.jsonl`: losses that fall, counters that grow."""
    return [
        {
            "at_s": float(time),
            "id": name,
            "tick": 20 * time,
            "training_loss": 1 / (1 + time) + 0.01 * place,
            "validation_loss": 2 / (1 + time) + 0.01 * place,
            "shared": None if time == 0 else 0.8,
            "personal": None if time == 0 else 0.8 + 0.01 * time,
            "hypergradient_norm": 10.0**-time,
            "residual": 0.5**time,
            "messages": {"bytes_sent": 1000 * time, "received": 80 * time, "gaps": 20 * time},
        }
        for time in range(times)
        for place, name in enumerate(names)
    ]


def links(names: Sequence[str] = NAMES, times: int = 4) -> list[dict[str, Any]]:
    """As the lines of `links.jsonl`: all push to the next; the first does not hear the last."""
    found = []
    for time in range(times):
        for place, name in enumerate(names):
            rows = []
            for other, peer in enumerate(names):
                if other == place:
                    continue
                pushes = other == (place + 1) % len(names)
                row: dict[str, Any] = {"peer": peer, "hears": True, "heard_by": True, "pushes_to": pushes}
                if (other + 1) % len(names) == place:
                    row |= {"received": 80 * time, "gaps": 20 * time, "rtt_s": 0.02}
                if (place, other) == (0, len(names) - 1):
                    row["hears"] = False
                if (place, other) == (len(names) - 1, 0):
                    row["heard_by"] = False
                rows.append(row)
            found.append({"at_s": float(time), "agent": name, "links": rows})
    return found


def hypers(names: Sequence[str] = NAMES, times: int = 4) -> list[dict[str, Any]]:
    """As the lines of `hyperparameters.jsonl`."""
    return [
        {
            "at_s": float(time),
            "agent": name,
            "values": {
                "bias": [0.1 * time, -0.2 * time * place],
                "class-weights.score": [0.3 * time, -0.1 * place],
                "pull": [float(place)],
            },
            "ranges": {"sample-weights.score": {"entries": 500, "least": -1, "median": 0, "most": 2}},
        }
        for time in range(times)
        for place, name in enumerate(names)
    ]


def events(names: Sequence[str] = NAMES) -> list[dict[str, Any]]:
    """As the lines of `events.jsonl`: one of each kind, and one of a kind that is unknown."""
    first, second = names[:2]
    window = {"start_s": 1.0, "end_s": None, "change": {"drop": 0.4}, "targets": [second]}
    told: list[dict[str, Any]] = [
        {"event": "EpochEntered", "epoch": 1, "reason": "start", "out_neighbours": [second]},
        {"event": "ListeningStarted", "epoch": 1},
        {"event": "PeerArrived", "peer": second, "incarnation": 0},
        {"event": "PeerDeparted", "peer": second},
        {"event": "PeerQuarantined", "peer": second, "reason": "a sum that cannot be"},
        {"event": "LinkDeaf", "peer": second},
        {"event": "LinkHeard", "peer": second},
        {"event": "HyperRateLowered", "factor": 0.5, "reason": "too fast"},
        {"event": "NonFiniteStep", "tick": 7},
        {"event": "Scenario", "what": f"4 s: {first} is killed"},
        {"event": "Scenario", "what": "something else"},
        {
            "event": "FaultsSet",
            "live": [window, {"start_s": 1.0, "end_s": None, "faults": None}, 3],
            "in_force": 5,
        },
        {"event": "FaultsSet", "live": [], "in_force": 0},
        {"event": "Invented"},
    ]
    return [{"at_s": 0.5 * place, "agent": first, **one} for place, one in enumerate(told)]


def result(names: Sequence[str] = NAMES, **more: object) -> dict[str, Any]:
    """As `result.json`."""
    agents = [
        {
            "id": name,
            "accuracy": dict(zip(SCORES, (0.7, 0.8, 0.85, 0.9 - 0.15 * (place == 1)), strict=True)),
            "messages": {"bytes_sent": 5000, "sent": 100, "received": 400, "gaps": 100},
            "ticks": 100,
        }
        for place, name in enumerate(names)
    ]
    found: dict[str, Any] = {
        "config": {},
        "kind": "accuracy",
        "columns": {name: name.replace("_", " ") for name in SCORES},
        "verdict": f"{len(names) - 1} of {len(names)} agents are better off; {names[0]} most.",
        "agents": agents,
        "summary": {name: {"mean": 0.8, "bottom_decile": 0.7} for name in SCORES},
        "comparison": {"personal - local": {"mean": 0.1, "low": 0.05, "high": 0.15, "confidence": 0.95}},
        "wall_s": 12.5,
        "virtual_s": 5.0,
        "ticks": 100,
        "interrupted": False,
        "digest": "0123456789abcdef0123",
        "absent": [],
    }
    return found | more


def as_lines(rows: Sequence[object]) -> list[str]:
    """One a line."""
    return [json.dumps(row) for row in rows]


def lines(names: Sequence[str] = NAMES) -> Lines:
    """All files that have lines."""
    files = (metrics(names), events(names), links(names), hypers(names))
    return Lines(*(as_lines(rows) for rows in files))


def run(name: str = "one", names: Sequence[str] = NAMES, **more: object) -> Run:
    """A whole run."""
    return make_run(name, config(names, **more), result(names), lines(names))


def write(folder: Path, names: Sequence[str] = NAMES) -> Path:
    """The same as files."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config(names)))
    (folder / "result.json").write_text(json.dumps(result(names)))
    for name, rows in zip(
        ("metrics", "events", "links", "hyperparameters"),
        (metrics(names), events(names), links(names), hypers(names)),
        strict=True,
    ):
        (folder / f"{name}.jsonl").write_text("\n".join(as_lines(rows)) + "\n")
    return folder


def is_plain(value: object) -> bool:
    """Whether there is nothing in it but what JSON holds, and no number that is not finite."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_plain, value))
    return (
        value is None
        or isinstance(value, str | bool | int)
        or (isinstance(value, float) and math.isfinite(value))
    )
