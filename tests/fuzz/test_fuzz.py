"""A short run of every target of the campaign, and every bug that it found."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.fuzz.admin_sockets import AdminSockets
from tests.fuzz.guided import fuzz
from tests.fuzz.hostile_agent import HostileMembers, crowd_of_announcements, crowd_of_strangers
from tests.fuzz.hostile_swarm import KINDS, attacked, everything, ghosts, haste
from tests.fuzz.replayed import Replayed
from tests.fuzz.targets import Admin, Decoder, Envelope, Predictions, Records, Sealed
from tests.fuzz.user_files import Config, Keys, Scenario
from wire import PEERS_KNOWN_MAX

HUGE = b"0x1" + b"0" * 9_000  # more digits than Python writes
DEEP = b"[" * 990 + b"]" * 990


@pytest.mark.parametrize(
    ("make", "inputs", "understood"),
    [
        (Decoder, 1_500, "accepted"),
        (Envelope, 150, "opened"),
        (Sealed, 1_500, "opened"),
        (Records, 500, "heard"),
        (Admin, 500, "accepted"),
        (Predictions, 500, "accepted"),
        (Scenario, 150, "read"),
        (Config, 100, "read"),
        (Keys, 300, "read refused by KeyFileError"),
        (HostileMembers, 25, "received"),
        (Replayed, 200, "the same"),
    ],
)
def test_whatever_comes_is_read_or_refused(make: Any, inputs: int, understood: str) -> None:
    totals = fuzz(make(), seed=1, inputs=inputs)
    assert not totals.findings, "\n".join(totals.lines())
    assert totals.outcomes[understood] > 0, "else it was thrown at a closed door"
    assert len(totals.outcomes) > 1
    assert totals.peak_bytes < 4_000_000


def test_whatever_is_asked_on_a_socket_gets_an_answer_or_none() -> None:
    target = AdminSockets()
    try:
        totals = fuzz(target, seed=1, inputs=60)
    finally:
        target.close()
    assert not totals.findings, "\n".join(totals.lines())
    assert totals.outcomes["200"] > 0


class Planted:
    """Reads JSON, and has a bug behind two branches."""

    name = "planted"
    files = ("test_fuzz.py",)

    def seeds(self) -> list[bytes]:
        return [b'{"kind": "a", "count": 3, "rest": [1, 2, 3]}']

    def read(self, data: bytes) -> Any:
        return json.loads(data)

    def write(self, tree: Any) -> bytes:
        return json.dumps(tree).encode()

    def throw(self, data: bytes) -> str:
        try:
            tree = json.loads(data)
        except (ValueError, RecursionError):
            return "no JSON"
        if isinstance(tree, dict) and "kind" not in tree:
            count = tree.get("count")
            if isinstance(count, int) and count > 2**32:
                raise KeyError("kind")
        return "read"


def test_a_bug_behind_branches_is_found_and_shown_small() -> None:
    """Equal seeds find it in the same way."""
    first, again = (fuzz(Planted(), seed=3, inputs=3_000) for _ in range(2))
    (finding,) = first.findings.values()
    assert finding.error.startswith("KeyError in fuzz/test_fuzz.py:throw")
    assert len(finding.data) < 60
    assert (again.findings, again.outcomes) == (first.findings, first.outcomes)


@pytest.mark.parametrize(
    ("make", "data"),
    [
        (Scenario, b"[[event]]\nat = 1\ndrop = 0.1\nfrom = %b" % HUGE),  # repr() refused to write it
        (Scenario, b'[[event]]\nat = 1\n"a\\nb" = 3\ndrop = 0.1'),  # an error on two lines
        (Scenario, b'[[event]]\nat = 30\ncut = ["a", "b"]\nfor = 5e-24'),  # over before it began
        (Admin, b'[{"faults": {"drop": 1}, "for_s": 5e-24}]'),
        (Scenario, b"[[event]]\nat = 1\ndelay = %b" % HUGE),
        (Config, b"x = %b" % HUGE),
        (Config, b"[settings]\nfanout = 1%b" % (b"0" * 400)),  # beyond all floats
        (Config, b"x = %b" % DEEP),  # recursion in tomllib
        (Config, b'"a\\nb" = 3'),
    ],
)
def test_what_the_campaign_found_is_refused(make: Any, data: bytes) -> None:
    assert make().throw(data).startswith("refused")


@pytest.mark.parametrize("attack", [haste, ghosts, everything])
def test_the_honest_come_to_their_own_answer_after_an_attack(attack: Any) -> None:
    """Found: one liar that told of a far higher epoch made everybody begin with its estimate."""
    result = attacked(attack, ticks=450, until=45, liars=len(KINDS) if attack is everything else 1)
    assert max(result.errors.values()) < 1e-6, result
    assert max(result.worst) < 100.0, "nobody was led astray meanwhile"
    assert {who for _, _, who in result.quarantines} <= {f"liar-{number}" for number in range(len(KINDS))}
    assert len(set(result.epochs)) == 1
    assert result.outcomes["received"] > 0


def test_crowds_are_held_in_small_tables() -> None:
    peak, held = crowd_of_announcements(3_000)
    assert held == 2 * PEERS_KNOWN_MAX
    assert peak < 2_000_000
    peak, outcomes = crowd_of_strangers(400)
    assert peak < 4_000_000
    assert outcomes["received"] > 0
