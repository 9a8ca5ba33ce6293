"""What an agent tells about itself: JSON and back, warnings, how far it is from settled, what is printed."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import random

import pytest
from rich.console import Console

from peer.errors import SettingError
from peer.phase import Phase
from peer.refused import FORGOTTEN_S, REFUSED_MAX, Refusals
from peer.settled import SAMPLES_MAX, ResidualTrend, span
from peer.status import AgentStatus, LinkStatus, reach_warnings
from peer.status_table import render
from wire import PeerRecord, RejectReason

BOTH = LinkStatus("agent-1", "10.0.0.1:7700", 2, pushes_to=True, hears=True, heard_by=True)
ONLY_IN = dataclasses.replace(BOTH, peer="agent-2", pushes_to=False, heard_by=False, received=90, gaps=10)
ONLY_OUT = dataclasses.replace(BOTH, peer="agent-3", hears=False)
STRANGE = LinkStatus(
    peer="agent-4",
    address="",
    incarnation=0,
    pushes_to=False,
    hears=False,
    heard_by=False,
    route="reverse",
    age_s=0.25,
    heartbeat_age_s=75.0,
    tick_interval_s=0.05,
    received=3,
    gaps=1,
    sent=7,
    replaced=6,
    unsent=5,
    bytes_sent=4_200_000,
    rtt_s=0.012,
    model_disagreement=1.5e-3,
    adjoint_disagreement=2.5e-3,
    incompatible="wrong_swarm",
    quarantined="its sum jumped",
)
STATUS = AgentStatus(
    peer="agent-0",
    swarm="demo",
    fingerprint="f00d",
    protocol=2,
    keyed=True,
    address="10.0.0.7:7700",
    incarnation=1,
    epoch=5,
    phase="running",
    tick=1234,
    ticks_per_second=19.8,
    uptime_s=200.0,
    residual=3.2e-4,
    settled_line="residual 3.2e-04",
    until_line="until residual 1e-6",
    steps_line="steps: model 0.1",
    hyper_rate=0.5,
    hypergradient_norm=0.02,
    training_loss=0.25,
    validation_loss=0.75,
    accuracies={"personal": 0.91},
    swarm_accuracies={"personal": 0.88},
    messages={"sent": 7, "received": 3},
    rejected={"replayed": 3, "malformed": 2},
    checkpoint_age_s=12.5,
    warnings=("nobody reaches this agent",),
    links=(BOTH, ONLY_IN, ONLY_OUT, STRANGE),
)


def printed(status: AgentStatus) -> str:
    out = io.StringIO()
    Console(file=out, width=160).print(render(status))
    return out.getvalue()


def test_json_and_back() -> None:
    told = json.loads(json.dumps(STATUS.to_dict(), allow_nan=False))
    assert AgentStatus.from_dict(told) == STATUS
    assert told["links"][1]["loss"] == 0.1
    assert told["links"][0]["loss"] is None
    assert AgentStatus.from_dict({**told, "news": 1}) == STATUS, "a later version may tell more"


def test_what_is_not_finite_is_null_and_comes_back_as_nan() -> None:
    lost = dataclasses.replace(STATUS, residual=math.inf, training_loss=math.nan, links=())
    told = json.loads(json.dumps(lost.to_dict(), allow_nan=False))
    assert told["residual"] is told["training_loss"] is None
    back = AgentStatus.from_dict(told)
    assert math.isnan(back.residual)
    assert math.isnan(back.training_loss)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peer": None}, "status.peer: None is not possible; text is expected"),
        ({"keyed": 1}, "status.keyed: 1 is not possible; true or false"),
        ({"tick": 1.5}, "status.tick: 1.5"),
        ({"epoch": True}, "status.epoch: True"),
        ({"residual": "small"}, "status.residual: 'small' is not possible; a number"),
        ({"residual": True}, "status.residual: True"),
        ({"uptime_s": 10**400}, "status.uptime_s: '1000"),
        ({"warnings": [1]}, "status.warnings: [1] is not possible; a list of texts"),
        ({"warnings": "all"}, "status.warnings: 'all'"),
        ({"rejected": []}, "status.rejected: [] is not possible; an object"),
        ({"rejected": {"late": "3"}}, "status.rejected.late: '3'"),
        ({"links": {}}, "status.links: {} is not possible; a list of objects"),
        ({"links": [3]}, "status.links: [3]"),
        ({"links": [{}]}, "status.links.peer: None"),
        ({"links": [{**dataclasses.asdict(STRANGE), "route": 3}]}, "status.links.route: 3"),
    ],
)
def test_an_answer_of_something_else_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(SettingError) as raised:
        AgentStatus.from_dict({**STATUS.to_dict(), **change})
    assert str(raised.value).startswith(told)


def test_only_an_agent_without_a_way_in_or_out_is_warned_about() -> None:
    """One-way links are normal."""
    assert reach_warnings([ONLY_IN, ONLY_OUT], 100.0) == ()
    assert reach_warnings([ONLY_OUT], 100.0) == ("nobody reaches this agent: it hears no other",)
    (only,) = reach_warnings([ONLY_IN, STRANGE], 100.0)
    assert only.startswith("it reaches nobody")
    assert len(reach_warnings([dataclasses.replace(ONLY_IN, hears=False)], 100.0)) == 2
    nobody = "it knows of no agent that it could learn with"
    assert reach_warnings([STRANGE], 100.0) == (f"{nobody}; 1 known that are incompatible",)
    gone = dataclasses.replace(BOTH, left=True)
    assert reach_warnings([gone], 100.0) == (f"{nobody}; 1 known that said goodbye",), "nobody to hear"
    assert reach_warnings([gone, STRANGE], 100.0) == (
        f"{nobody}; 1 known that are incompatible; 1 known that said goodbye",
    )
    assert len(reach_warnings([gone, ONLY_IN], 100.0)) == 1
    assert reach_warnings([], 100.0) == ("it knows of no agent that it could learn with",)
    assert reach_warnings([], 1.0) == (), "it has only just begun"


def test_what_is_printed() -> None:
    text = printed(STATUS)
    for part in (
        "agent-0 in swarm demo at 10.0.0.7:7700, protocol 2, encrypted and signed",
        "running, epoch 5, incarnation 1, tick 1234 (19.8 a second), up 3.3 min",
        "residual 3.2e-04\nuntil residual 1e-6\n",
        "loss 0.25, validation loss 0.75, personal 0.91, personal of all 0.88, hyper step size times 0.5",
        "\nsteps: model 0.1\n",
        "rejected: malformed 2, replayed 3",
        "warning: nobody reaches this agent",
        "incompatible: wrong_swarm; quarantined: its sum jumped",
    ):
        assert part in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.startswith("agent-")}
    assert rows["agent-1"][1] == "<->*"
    assert rows["agent-2"][1:3] == ["<-", "10.0%"]
    assert rows["agent-3"][1] == "->*"
    assert rows["agent-4"][1:9] == ["reverse", "250", "ms", "75", "s", "25.0%", "7", "6"]
    gone = dataclasses.replace(BOTH, hears=False, heard_by=False, left=True)
    assert "said goodbye" in printed(dataclasses.replace(STATUS, links=(gone,)))
    quiet = dataclasses.replace(STATUS, keyed=False, hyper_rate=1.0, rejected={}, links=(), until_line="")
    text = printed(quiet)
    assert "without a key" in text
    assert "no other agent is known" in text
    assert "rejected" not in text
    assert "hyper step" not in text


def test_names_from_the_network_cannot_command_a_terminal() -> None:
    link = dataclasses.replace(BOTH, peer="\x1b[2J[red]evil")
    assert "?[2J[red]evil" in printed(dataclasses.replace(STATUS, links=(link,)))


def note(
    trend: ResidualTrend, residual: float, now: float, epoch: int = 1, phase: Phase = Phase.RUNNING
) -> None:
    trend.note(residual, now, epoch=epoch, phase=phase)


def line(trend: ResidualTrend, residual: float, goal: float) -> str:
    return trend.line(residual, goal, Phase.RUNNING)


def falling(per_second: float, noise: float = 0.0, samples: int = 50) -> tuple[ResidualTrend, float]:
    rng, trend, residual = random.Random(1), ResidualTrend(), 1.0
    for second in range(samples):
        residual = 10 ** (per_second * second + noise * rng.gauss(0, 1))
        note(trend, residual, float(second))
        note(trend, 1e9, second + 0.5)  # too soon after the last one to count
    return trend, residual


def test_how_far_from_settled() -> None:
    trend, residual = falling(-0.1)
    assert residual == pytest.approx(10**-4.9)
    assert line(trend, residual, 1e-9) == "residual 1.3e-05, tenfold less every 10 s: 1e-09 in about 41 s"
    assert line(trend, 1e-10, 1e-9) == "settled: residual 1.0e-10, not above 1e-09"
    assert line(trend, math.nan, 1e-9) == "no residual yet"
    assert line(falling(0.1)[0], 1.0, 1e-6) == "residual 1.0e+00, rising; settled would be 1e-06"
    held = "not falling: held up, or as exact as it gets here"
    assert held in line(falling(0.0, noise=0.1)[0], 1e-3, 1e-6)
    assert held in line(falling(-1e-6)[0], 1e-3, 1e-6)
    assert held in line(trend, math.inf, 1e-6)
    assert "tenfold less every" in line(falling(-0.01, noise=0.05)[0], 1e-3, 1e-6)
    early, _ = falling(-0.1, samples=3)
    for nothing in (0.0, math.nan, math.inf, -1.0):
        note(early, nothing, 100.0)
    assert line(early, 1e-3, 1e-6) == "residual 1.0e-03, too early to say when it is below 1e-06"


def test_what_fell_in_one_epoch_says_nothing_of_the_next() -> None:
    trend, _ = falling(-0.1)
    assert "tenfold less" in line(trend, 1e-3, 1e-6)
    note(trend, 1e-2, 50.0, epoch=2, phase=Phase.WARMING_UP)
    assert trend.line(1.0, 1e-6, Phase.WARMING_UP) == "warming up: no residual of this epoch yet"
    assert trend.line(1e-9, 1e-6, Phase.LISTENING) == "listening: no residual of this epoch yet"
    early = "residual 1.0e-02, too early to say when it is below 1e-06"
    for second in range(20):
        note(trend, 1.0, 51.0 + second, epoch=2, phase=Phase.WARMING_UP)
    assert line(trend, 1e-2, 1e-6) == early, "nothing was learned in the warm-up"
    for second in range(10):
        note(trend, 10.0**-second, 80.0 + second, epoch=2)
    assert "tenfold less every 1 s" in line(trend, 1e-3, 1e-6)


def refuse(refusals: Refusals, number: int, now: float) -> bool:
    record = PeerRecord(f"p{number}", 0, f"10.0.0.1:{number + 1}", "woods", "f00d")
    return refusals.note(record, RejectReason.WRONG_SWARM, now)


def test_agents_that_do_not_fit_are_listed_while_they_are_there() -> None:
    refusals = Refusals()
    assert refuse(refusals, 0, 0.0)
    assert refuse(refusals, 1, 0.0)
    assert not refuse(refusals, 0, 1.0), "told already"
    record, _ = refusals.listed["p0"]
    assert refusals.note(record, RejectReason.WRONG_KEY, 1.0), "another reason is news"
    refusals.look({"p0"}, FORGOTTEN_S)
    assert sorted(refusals.listed) == ["p0"], "p1 was not shown for so long"
    refusals.look((), 2 * FORGOTTEN_S - 1)
    assert sorted(refusals.listed) == ["p0"], "it may be starting anew"
    refusals.look((), 2 * FORGOTTEN_S)
    assert not refusals.listed
    refusals.fits("p0")


def test_a_flood_of_agents_that_do_not_fit_hides_no_new_one_and_fills_no_log() -> None:
    refusals = Refusals()
    told = [refuse(refusals, number, float(number)) for number in range(2 * REFUSED_MAX)]
    assert told == [True] * REFUSED_MAX + [False] * REFUSED_MAX
    assert list(refusals.listed) == [f"p{number}" for number in range(REFUSED_MAX, 2 * REFUSED_MAX)]
    assert not refuse(refusals, 2 * REFUSED_MAX - 1, 0.0)


def test_only_the_last_minute_counts() -> None:
    trend = ResidualTrend()
    for second in range(10 * SAMPLES_MAX):
        note(trend, 10.0 ** (-0.1 * max(0, second - 9 * SAMPLES_MAX)), float(second))
    assert "tenfold less every 10 s" in line(trend, 1e-6, 1e-9)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        *((0.0, "0 s"), (4.23, "4.2 s"), (41.4, "41 s"), (119.0, "119 s"), (200.0, "3.3 min")),
        *((9000.0, "2.5 h"), (6 * 86_400.0, "6 days"), (400 * 86_400.0, "400 days")),
    ],
)
def test_times_as_people_say_them(seconds: float, said: str) -> None:
    assert span(seconds) == said
