"""What happens to the members of a simulated swarm, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Kill:
    """Agent number `agent` stops without a word at this virtual time."""

    agent: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Join:
    """Agent number `agent` is not there from the start but comes at this virtual time."""

    agent: int
    at_s: float


@dataclass(frozen=True, slots=True)
class Restart:
    """A killed agent comes back: with state as a new incarnation, without as a new identity."""

    agent: int
    at_s: float
    with_state: bool = True


Change = Kill | Join | Restart


def check_scenario(changes: Sequence[Change], agents: int) -> None:
    """Raise `SettingError` if the changes, in order of time, do not fit together."""
    for index, change in enumerate(changes):
        if not 0 <= change.agent < agents:
            raise SettingError(
                f"scenario[{index}].agent", change.agent, f"give a number from 0 to {agents - 1}"
            )
        if not 0 <= change.at_s < float("inf"):
            raise SettingError(f"scenario[{index}].at_s", change.at_s, "give virtual seconds, 0 or more")
    running = set(range(agents)) - {change.agent for change in changes if isinstance(change, Join)}
    killed: set[int] = set()
    for index, change in sorted(enumerate(changes), key=lambda item: (item[1].at_s, item[0])):
        agent = change.agent
        if isinstance(change, Kill):
            fits, remedy = agent in running, "only a running agent can be killed"
            running.discard(agent)
            killed.add(agent)
        elif isinstance(change, Join):
            fits, remedy = agent not in running | killed, "an agent joins once; Restart brings it back"
            running.add(agent)
        else:
            fits, remedy = agent in killed, "only a killed agent restarts"
            running.add(agent)
            killed.discard(agent)
        if not fits:
            raise SettingError(f"scenario[{index}]", change, remedy)
