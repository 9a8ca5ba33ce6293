"""One agent among hostile members: sequences of messages, whatever they say, and what must hold of it."""

from __future__ import annotations

import math
import random
import struct
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgpack
import torch

from peer import assembly
from peer.admission import EPOCH_MAX
from peer.events import Compute, Persist, Reach, Send
from peer.pace import SLOWDOWN_MAX, SLOWNESS_MAX
from peer.quadratic import QuadraticProblem
from peer.settings import AgentSettings
from wire import (
    MESSAGE_BYTES_MAX,
    PROTOCOL_OLDEST,
    Array,
    DecodeError,
    EncodeError,
    FaultPlan,
    Heard,
    Heartbeat,
    PeerRecord,
    Push,
    encode_push,
    parse_address,
    peer_mark,
)
from wire.known_peers import KnownPeers

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK_S = 0.05
BLOCK_FLOATS = 2
STEPS_MAX = 200  # of one input
CROWD_MAX = 40  # names that speak in one step
WAIT_MAX = 25  # ticks
TABLE_MAX = 8_192  # entries of any table; the largest are own heartbeats, and blocks of all links
PERFECT = FaultPlan()


class Victim:
    """An honest agent, "b", that learns with "h" alone, and everything that its driver checks."""

    def __init__(self) -> None:
        settings = AgentSettings(
            tick_s=TICK_S,
            warm_up_ticks=4.0,
            listen_s_max=0.5,
            evaluate_every=0,
            block_fraction=0.5,
            model_step_size=0.1,
            adjoint_step_size=0.1,
        )
        problem = QuadraticProblem.random(torch.Generator().manual_seed(1), dimension=2 * BLOCK_FLOATS)
        self.agent, _ = assembly.make_agent(
            problem, settings, peer="b", swarm="swarm", seed=1, now=0.0, founder=True, address="b:1"
        )
        self.now = 0.0
        self.persisted = 0
        self.sequence = 0
        for _ in range(4):
            self.say("h", {})
            self.wait(2)

    def frame(self, sender: str, fields: dict[str, Any]) -> bytes:
        """A message as a member would make it, but for what `fields` say. Raises what encode_push does."""
        agent = self.agent
        self.sequence += 1
        count = _whole(fields.get("count", BLOCK_FLOATS)) % 64
        fill = fields.get("fill", [0.1, 0.1, 0.1, 0.1])
        values = [_float(value) for value in fill] if isinstance(fill, list) else []
        wide = fields.get("wide") is True
        code = f"<{count}{'d' if wide else 'f'}"
        data = [struct.pack(code, *[value if wide else _narrow(value)] * count) for value in values]
        heartbeat = _whole(fields.get("heartbeat", self.sequence))
        own = [
            sender,
            fields.get("incarnation", 0),
            heartbeat,
            fields.get("address", ""),
            fields.get("left"),
            None,
            [],
        ]
        others = fields.get("digest", [])
        push = Push(
            swarm=_text(fields.get("swarm", agent.identity.swarm)),
            fingerprint=_text(fields.get("fingerprint", agent.identity.fingerprint)),
            sender=sender,
            incarnation=_whole(fields.get("incarnation", 0)),
            epoch=_whole(agent.epoch + _whole(fields.get("later", 0))),
            block=_whole(fields.get("block", 0)),
            sequence=_whole(fields.get("sequence", self.sequence)),
            tick=_whole(fields.get("tick", self.sequence)),
            tick_interval_s=_float(fields.get("interval", TICK_S)),
            address=_text(fields.get("address", "")),
            arrays=tuple(Array("<f8" if wide else "<f4", part) for part in data),
            targets=tuple(sorted(peer_mark(_text(one)) for one in _list(fields.get("targets", ["b"]))[:64])),
            digest=tuple(_heartbeat(one) for one in [own, *_list(others)][:12]),
        )
        return encode_push(push, fields.get("version", 2) if fields.get("version") == PROTOCOL_OLDEST else 2)

    def say(self, sender: str, fields: dict[str, Any]) -> str:
        """Let a message arrive; what became of it."""
        try:
            frame = self.frame(sender, fields)
        except EncodeError:
            return "no message"
        try:
            self.agent.receive(assembly.decode(frame), self.now)
        except DecodeError as error:
            return str(error.reason)
        finally:
            self.perform()
        return "received"

    def wait(self, ticks: int) -> None:
        """Let the agent tick."""
        slowest_s = SLOWDOWN_MAX * TICK_S * 1.2
        for _ in range(ticks):
            deadline = self.agent.next_deadline()
            assert deadline is not None
            assert deadline <= self.now + slowest_s, f"made to sleep until {deadline}, at {self.now}"
            self.now = max(self.now, deadline)
            self.agent.handle_timer(self.now)
            self.perform()

    def perform(self) -> None:
        """Carry out effects: what an agent says must be fit to be said, and epochs only rise."""
        while effects := self.agent.take_effects():
            for effect in effects:
                match effect:
                    case Persist(epoch):
                        assert self.persisted < epoch, f"epoch {epoch} after {self.persisted}"
                        self.persisted = epoch
                    case Compute(work):
                        self.agent.computed(work(), self.now)
                    case Send(targets, push):
                        assert len(assembly.encode(push)) <= MESSAGE_BYTES_MAX
                        assert self.agent.identity.peer not in targets
                    case Reach(_, address):
                        assert not address or parse_address(address)
        self.agent.take_events()

    def check(self) -> None:
        """What holds at all times."""
        agent = self.agent
        for stream in agent.solver.streams:
            assert bool(torch.isfinite(stream.estimate).all()), "an estimate is not finite"
        assert agent.epoch <= EPOCH_MAX + 1
        assert 0 < agent.pace.slowest_s() <= SLOWNESS_MAX * TICK_S
        for path, length in tables(agent):
            assert length <= TABLE_MAX, f"{path} has {length} entries"


def tables(root: object) -> Iterator[tuple[str, int]]:
    """Every container within our own objects, wherever it is kept, and its length."""
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("agent", root)]
    while waiting:
        path, value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, dict | list | set | frozenset | tuple):
            yield path, len(value)
            inner = list(value.values()) if isinstance(value, dict) else list(value)
            waiting += [(f"{path}[]", one) for one in inner[:4]]
        elif type(value).__module__.startswith("peer."):
            names = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
            names += list(getattr(value, "__dict__", ()))
            waiting += [(f"{path}.{name}", getattr(value, name, None)) for name in names]


class HostileMembers:
    """Steps: ["say", name, fields], ["crowd", count, fields], ["wait", ticks], ["find", name]."""

    name = "agent"
    files = (
        *("peer/agent.py", "peer/admission.py", "peer/membership.py", "peer/liveness.py", "peer/inbox.py"),
        *("peer/joining.py", "peer/pace.py", "peer/partners.py", "peer/peer_table.py", "peer/speaker.py"),
        *("peer/plausibility.py", "peer/topology.py"),
    )

    def seeds(self) -> list[bytes]:
        lies = [
            ["h", 2**64 - 1, 2**64 - 1, "", True, None, ["b"]],
            ["x", 0, 9, "x:1", False, [["b", 1, 2]], []],
        ]
        steps = [
            [["say", "l", {}], ["say", "l", {}], ["say", "l", {}], ["wait", 3], ["say", "l", {"later": 1}]],
            [["crowd", 9, {"fill": []}], ["crowd", 9, {}], ["wait", 1], ["crowd", 9, {"fill": [1e30] * 4}]],
            [["say", "l", {"digest": lies}], ["say", "l", {"digest": lies}], ["wait", 20], ["find", "l"]],
            [
                ["say", "h", {"later": 2**20}],
                ["wait", 5],
                ["say", "h", {"fill": [1e9, 1, 1, 1]}],
                ["wait", 9],
            ],
            [
                ["say", "h", {"incarnation": 1}],
                ["wait", 5],
                ["say", "h", {"sequence": 2**64 - 1}],
                ["wait", 2],
            ],
            [["say", "h", {"interval": 1e300, "block": 1}], ["wait", 5], ["say", "h", {"version": 1}]],
            [["wait", 24], ["say", "h", {"heartbeat": 2**63, "tick": 2**63}], ["wait", 24], ["say", "h", {}]],
        ]
        return [self.write(one) for one in steps]

    def read(self, data: bytes) -> Any:
        return msgpack.unpackb(data, strict_map_key=False)

    def write(self, tree: Any) -> bytes:
        return bytes(msgpack.packb(tree))

    def throw(self, data: bytes) -> str:
        """The agent goes on, whatever is said; see `Victim`."""
        try:
            steps = self.read(data)
        except (ValueError, TypeError):
            return "no sequence"
        victim = Victim()
        outcome = "nothing said"
        for step in _list(steps)[:STEPS_MAX]:
            match step:
                case ["say", str() as name, dict() as fields]:
                    outcome = victim.say(name[:80], fields)
                case ["crowd", int() as count, dict() as fields]:
                    for number in range(count % CROWD_MAX):
                        outcome = victim.say(f"crowd-{number}", fields)
                case ["wait", int() as ticks]:
                    victim.wait(ticks % WAIT_MAX)
                case ["find", str() as name] if name.isprintable() and name:
                    victim.agent.peer_found(name[:16], victim.now)
            victim.check()
        victim.wait(3)
        victim.check()
        victim.agent.leave(victim.now)
        victim.perform()
        return outcome


def crowd_of_strangers(count: int) -> tuple[int, dict[str, int]]:
    """So many names speak to one agent, each thrice and then goodbye: peak of memory, and what became of it.

    Everyone raises its heartbeat, so that it is believed, and pushes sums.
    """
    victim = Victim()
    outcomes: dict[str, int] = {}
    tracemalloc.start()
    for number in range(count // 4):
        for fields in ({"fill": []}, {"fill": []}, {"block": number % 2}, {"digest": [], "left": True}):
            outcome = victim.say(f"stranger-{number}", fields)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if number % 500 == 0:
            victim.wait(1)
            victim.check()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, outcomes


def crowd_of_announcements(count: int) -> tuple[int, int]:
    """So many agents announced, each by a name of its own: peak of memory, and how many are held."""
    own = PeerRecord("b", 0, "127.0.0.1:1", "swarm", "model")
    seen: set[str] = set()
    known = KnownPeers(own, lambda record: seen.add(record.peer), None)
    rng = random.Random(0)
    tracemalloc.start()
    for number in range(count):
        swarm = rng.choice(("swarm", "other"))
        known.heard(
            f"name-{number}",
            PeerRecord(f"agent-{number}", 0, f"192.0.2.1:{number % 65535 + 1}", swarm, "model"),
        )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(seen) <= len(known)
    return peak, len(known)


def _heartbeat(told: Any) -> Heartbeat:
    parts = [*_list(told), *[None] * 7]
    hears = parts[5]
    return Heartbeat(
        _text(parts[0]),
        _whole(parts[1]),
        _whole(parts[2]),
        _text(parts[3]),
        parts[4] is True,
        None
        if not isinstance(hears, list)
        else tuple(
            Heard(peer_mark(_text(one[0])), _whole(one[1]), _whole(one[2]) % 2**16)
            for one in hears[:24]
            if isinstance(one, list) and len(one) > 2
        ),
        tuple(peer_mark(_text(one)) for one in _list(parts[6])[:8]),
    )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _whole(value: object) -> int:
    return value % 2**64 if isinstance(value, int) else 0


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _narrow(value: float) -> float:
    """What float32 can hold."""
    return value if not math.isfinite(value) else max(-3.4e38, min(3.4e38, value))


def _text(value: object) -> str:
    return value.encode(errors="replace").decode()[:80] if isinstance(value, str) else ""
