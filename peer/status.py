"""What an agent tells about itself and its links: values, and JSON and back.

Links are directed, and one way is as good as two: only an agent that nobody reaches, or that reaches nobody,
is worth a warning. NaN and infinities are null in JSON and come back as NaN.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.fault_words import brief
from peer.jsonable import jsonable

if TYPE_CHECKING:
    from collections.abc import Sequence

REAL_MAX: Final = 1e300  # JSON has whole numbers of any length, which no float holds
LONELY_AFTER_S: Final = 10.0  # of running; before that it is only early


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What this agent knows of one peer and of the links from and to it. None: not known, or never."""

    peer: str
    address: str  # "" if it told none
    incarnation: int
    pushes_to: bool  # our sums go there: it is an out-neighbour
    hears: bool  # we hear it
    heard_by: bool  # it hears us, as it says itself
    route: str | None = None  # "dialled", or "reverse": through a websocket that it opened
    age_s: float | None = None  # since its last message
    heartbeat_age_s: float | None = None  # since its last sign of life, passed on by others or not
    tick_interval_s: float | None = None  # its own pace
    received: int = 0
    gaps: int = 0  # numbers missing between those received
    sent: int = 0
    replaced: int = 0  # by a newer one, while waiting to be sent
    unsent: int = 0
    bytes_sent: int = 0
    rtt_s: float | None = None
    model_disagreement: float | None = None  # |its - ours| / |ours|
    adjoint_disagreement: float | None = None
    incompatible: str | None = None  # why it is never spoken to
    quarantined: str | None = None  # why its sums are not believed
    alive: bool = False  # it is believed to be there, heard or not
    left: bool = False  # it has said goodbye: no direction works then

    @property
    def loss(self) -> float | None:
        """Share of its messages that did not arrive, estimated from gaps in their numbers."""
        numbered = self.received + self.gaps
        return self.gaps / numbered if numbered else None

    @property
    def arrow(self) -> str:
        """The directions that work: "<->", "<-" we hear it, "->" it hears us, or none."""
        if self.hears and self.heard_by:
            return "<->"
        return "<-" if self.hears else "->" if self.heard_by else ""

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> LinkStatus:
        """Read one of `links`. Raises `SettingError`."""
        read = _Reader(values, "status.links")
        return cls(
            peer=read.text("peer"),
            address=read.text("address"),
            incarnation=read.count("incarnation"),
            pushes_to=read.flag("pushes_to"),
            hears=read.flag("hears"),
            heard_by=read.flag("heard_by"),
            route=read.text_or_none("route"),
            age_s=read.number_or_none("age_s"),
            heartbeat_age_s=read.number_or_none("heartbeat_age_s"),
            tick_interval_s=read.number_or_none("tick_interval_s"),
            received=read.count("received"),
            gaps=read.count("gaps"),
            sent=read.count("sent"),
            replaced=read.count("replaced"),
            unsent=read.count("unsent"),
            bytes_sent=read.count("bytes_sent"),
            rtt_s=read.number_or_none("rtt_s"),
            model_disagreement=read.number_or_none("model_disagreement"),
            adjoint_disagreement=read.number_or_none("adjoint_disagreement"),
            incompatible=read.text_or_none("incompatible"),
            quarantined=read.text_or_none("quarantined"),
            alive=read.flag("alive"),
            left=read.flag("left"),
        )


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One agent at one moment."""

    peer: str
    swarm: str
    fingerprint: str  # of the model
    protocol: int
    keyed: bool  # messages are encrypted and signed
    address: str  # where others reach it
    incarnation: int
    epoch: int
    phase: str
    tick: int
    ticks_per_second: float
    uptime_s: float
    residual: float
    settled_line: str  # how far from settled, `peer.settled`
    until_line: str  # what it runs for
    steps_line: str  # what steps it takes, and what it has chosen them by
    hyper_rate: float  # factor on the hyper step size
    hypergradient_norm: float
    training_loss: float
    validation_loss: float
    accuracies: Mapping[str, float]  # `shared` and `personal`, and further metrics of the problem
    swarm_accuracies: Mapping[str, float]  # averages over the swarm, as far as this agent knows
    messages: Mapping[str, int]  # over all links, in this life: `peer.agent_status.messages_of`
    rejected: Mapping[str, int]  # messages, by reason
    checkpoint_age_s: float | None  # since the last one was kept in this life; None: none was
    warnings: tuple[str, ...]
    links: tuple[LinkStatus, ...]  # one for each peer it knows of

    def to_dict(self) -> dict[str, object]:
        """JSON-able; `from_dict` gives an equal value back, but for numbers that are not finite."""
        return {
            field.name: jsonable(
                [dataclasses.asdict(link) | {"loss": link.loss} for link in self.links]
                if field.name == "links"
                else getattr(self, field.name)
            )
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> AgentStatus:
        """Read what `to_dict` writes. Unknown keys are of later versions. Raises `SettingError`."""
        read = _Reader(values, "status")
        return cls(
            peer=read.text("peer"),
            swarm=read.text("swarm"),
            fingerprint=read.text("fingerprint"),
            protocol=read.count("protocol"),
            keyed=read.flag("keyed"),
            address=read.text("address"),
            incarnation=read.count("incarnation"),
            epoch=read.count("epoch"),
            phase=read.text("phase"),
            tick=read.count("tick"),
            ticks_per_second=read.number("ticks_per_second"),
            uptime_s=read.number("uptime_s"),
            residual=read.number("residual"),
            settled_line=read.text("settled_line"),
            until_line=read.text("until_line"),
            steps_line=read.text("steps_line"),
            hyper_rate=read.number("hyper_rate"),
            hypergradient_norm=read.number("hypergradient_norm"),
            training_loss=read.number("training_loss"),
            validation_loss=read.number("validation_loss"),
            accuracies=read.numbers("accuracies"),
            swarm_accuracies=read.numbers("swarm_accuracies"),
            messages=read.counts("messages"),
            rejected=read.counts("rejected"),
            checkpoint_age_s=read.number_or_none("checkpoint_age_s"),
            warnings=tuple(read.texts("warnings")),
            links=tuple(LinkStatus.from_dict(link) for link in read.tables("links")),
        )


def reach_warnings(links: Sequence[LinkStatus], uptime_s: float) -> tuple[str, ...]:
    """What is wrong with an agent that is not part of a swarm in both directions."""
    if uptime_s < LONELY_AFTER_S:
        return ()
    able = [link for link in links if link.incompatible is None and not link.left]
    if not able:
        gone = sum(link.left for link in links)
        others = [
            *([f"{len(links) - gone} known that are incompatible"] if len(links) > gone else []),
            *([f"{gone} known that said goodbye"] if gone else []),
        ]
        return ("; ".join(["it knows of no agent that it could learn with", *others]),)
    warnings = []
    if not any(link.hears for link in able):
        warnings.append("nobody reaches this agent: it hears no other")
    if not any(link.heard_by for link in able):
        warnings.append("it reaches nobody: no other says that it hears this agent")
    return tuple(warnings)


class _Reader:
    """Values of a JSON object by name, of the wanted type."""

    def __init__(self, values: Mapping[str, object], where: str) -> None:
        self._values = values
        self._where = where

    def text(self, name: str) -> str:
        value = self._values.get(name)
        if not isinstance(value, str):
            raise self._error(name, "text")
        return value

    def text_or_none(self, name: str) -> str | None:
        return None if self._values.get(name) is None else self.text(name)

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        if not isinstance(value, bool):
            raise self._error(name, "true or false")
        return value

    def count(self, name: str) -> int:
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._error(name, "a whole number")
        return value

    def number(self, name: str) -> float:
        value = self._values.get(name, "")
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > REAL_MAX:
            raise self._error(name, "a number")
        return float(value)

    def number_or_none(self, name: str) -> float | None:
        return None if self._values.get(name) is None else self.number(name)

    def texts(self, name: str) -> Sequence[str]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._error(name, "a list of texts")
        return value

    def tables(self, name: str) -> Sequence[Mapping[str, object]]:
        value = self._values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            raise self._error(name, "a list of objects")
        return value

    def names(self, name: str) -> Sequence[str]:
        return list(self._table(name))

    def numbers(self, name: str) -> dict[str, float]:
        return {one: self.under(name).number(one) for one in self.names(name)}

    def counts(self, name: str) -> dict[str, int]:
        return {one: self.under(name).count(one) for one in self.names(name)}

    def under(self, name: str) -> _Reader:
        return _Reader(self._table(name), f"{self._where}.{name}")

    def _table(self, name: str) -> Mapping[str, object]:
        value = self._values.get(name)
        if not isinstance(value, Mapping):
            raise self._error(name, "an object")
        return value

    def _error(self, name: str, wanted: str) -> SettingError:
        remedy = f"{wanted} is expected: is it an agent of this version that answers?"
        return SettingError(f"{self._where}.{name}", brief(self._values.get(name)), remedy)
