"""What is kept of an agent beside its numbers, less often: its links and its hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from peer.agent_status import link_status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from peer.assembly import TensorAgent
    from peer.status import LinkStatus
    from wire import Transport

LINKS_KEPT_MAX: Final = 256  # of one agent at one time; its rows are bounded as its table of peers is
ENTRIES_KEPT_MAX: Final = 128  # of one hyperparameter: every class of EMNIST; not every training sample
VALUES_KEPT_MAX: Final = 512  # of one agent at one time, so that a line stays short
DIGITS: Final = 5  # of a number

# Vectors with one entry for each output, so that the classes' names say what an entry is.
OF_OUTPUTS: Final = ("bias", "logits.log_scale", "logits.bias", "class-weights.score")

_KEPT_OF_LINKS: Final = (
    *("pushes_to", "hears", "heard_by", "left", "received", "gaps", "sent", "replaced", "unsent"),
    *("bytes_sent", "rtt_s", "model_disagreement", "quarantined"),
)


@dataclass(frozen=True, slots=True)
class AgentDetails:
    """One agent at one moment. `ranges`: of hyperparameters that are too long to be kept entry by entry."""

    id: str
    links: tuple[LinkStatus, ...]
    hyperparameters: Mapping[str, tuple[float, ...]]  # all entries, in C order
    ranges: Mapping[str, Range]

    @classmethod
    def of(
        cls,
        agent: TensorAgent,
        hyperparameters: Mapping[str, Tensor],
        now: float,
        transport: Transport | None = None,
    ) -> AgentDetails:
        """Read the agent at `now` by its clock; a simulated one has no transport that would count."""
        kept: dict[str, tuple[float, ...]] = {}
        ranges: dict[str, Range] = {}
        room = VALUES_KEPT_MAX
        for name, tensor in hyperparameters.items():
            entries = tensor.numel()
            if entries <= min(room, ENTRIES_KEPT_MAX):
                kept[name] = tuple(map(_rounded, tensor.detach().reshape(-1).tolist()))
                room -= entries
            else:
                ranges[name] = Range.of(tensor.detach())
        peers = sorted(agent.membership.liveness.lives)[:LINKS_KEPT_MAX]
        links = tuple(link_status(agent, peer, now, transport) for peer in peers)
        return cls(agent.identity.peer, links, kept, ranges)

    def links_line(self, at_s: float) -> dict[str, Any]:
        """As in `links.jsonl`: what is false, nothing or not known is left out."""
        rows = [
            {"peer": link.peer}
            | {name: _short(value) for name in _KEPT_OF_LINKS if (value := getattr(link, name))}
            for link in self.links
        ]
        return {"at_s": round(at_s, 3), "agent": self.id, "links": rows}

    def hyperparameters_line(self, at_s: float) -> dict[str, Any] | None:
        """As in `hyperparameters.jsonl`; None where there are none."""
        line: dict[str, Any] = {"at_s": round(at_s, 3), "agent": self.id}
        if self.hyperparameters:
            line["values"] = {name: list(values) for name, values in self.hyperparameters.items()}
        if self.ranges:
            line["ranges"] = {name: dataclasses.asdict(found) for name, found in self.ranges.items()}
        return line if len(line) > 2 else None


@dataclass(frozen=True, slots=True)
class Range:
    """What is kept of many entries."""

    entries: int
    least: float
    median: float
    most: float

    @classmethod
    def of(cls, tensor: Tensor) -> Range:
        """Of a tensor that has entries."""
        numbers = (float(found) for found in (tensor.min(), tensor.median(), tensor.max()))
        return cls(tensor.numel(), *map(_rounded, numbers))


def entry_names(hyperparameters: Mapping[str, Tensor], classes: Sequence[str]) -> dict[str, list[str]]:
    """What to call the entries of every hyperparameter that is kept entry by entry, for `config.json`.

    `classes`: the names of the task's classes in order; none if they are unknown or not the same everywhere.
    """
    found = {}
    for name, tensor in hyperparameters.items():
        if not 0 < tensor.numel() <= ENTRIES_KEPT_MAX:
            continue
        if name in OF_OUTPUTS and tensor.shape == (len(classes),):
            found[name] = list(classes)
        else:
            found[name] = [_place(number, tensor.shape) for number in range(tensor.numel())]
    return found


def _place(number: int, shape: Sequence[int]) -> str:
    """`2,0` of an entry by its number in C order; "" of the only one."""
    places = []
    for length in reversed(shape):
        number, place = divmod(number, length)
        places.append(str(place))
    return ",".join(reversed(places))


def _short(value: object) -> object:
    return _rounded(value) if isinstance(value, float) else value


def _rounded(value: float) -> float:
    """To as many digits as are kept."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else value
