"""Who hears whom, as agents tell that were asked: links of one direction, agents cut off. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from peer.evidence import Reached
from peer.findings import SHOWN_MAX, Finding, Level, listed
from wire import RejectReason
from wire.records import HEARS_TOLD_MAX, incompatibility

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peer.evidence import Answer, Evidence, Probe


def one_way(evidence: Evidence, probe: Probe) -> Iterator[Finding]:
    """Of the agent that runs here and one that fits, who hears whom, as far as they tell."""
    if evidence.running is None or probe.answer is None:
        return
    us, them = evidence.running.record.peer, probe.answer.record.peer
    heard_here = _either(evidence.running.hears, them, probe.answer.heard_by, us)
    heard_there = _either(probe.answer.hears, us, evidence.running.heard_by, them)
    if heard_here and heard_there is False:
        remedy = "normal on one-way links; else check that the address which others are told leads here"
        yield Finding(Level.NOTE, "one-way", f"{them} is heard, it does not hear {us}", remedy)
    elif heard_there and heard_here is False:
        remedy = "normal on one-way links; else see whether a firewall here stops incoming TCP"
        yield Finding(Level.NOTE, "one-way", f"{them} hears {us}, but is not heard", remedy)
    elif heard_here is False and heard_there is False:
        yield Finding(
            Level.NOTE, "no messages", f"{them} and {us} do not hear each other", "look again in a minute"
        )


def one_way_elsewhere(evidence: Evidence) -> Iterator[Finding]:
    """Of all others that answer and fit, who hears whom in one direction only, as far as they tell."""
    others = [answer for answer in _agents(evidence) if answer is not evidence.running]
    found = 0
    for one, other in itertools.permutations(others, 2):
        us, them = one.record.peer, other.record.peer
        if not _either(one.hears, them, other.heard_by, us):
            continue
        if _either(other.hears, us, one.heard_by, them) is not False:
            continue
        found += 1
        if found <= SHOWN_MAX:
            remedy = (
                f"normal on one-way links; else check the address that {them} tells others, and its firewall"
            )
            yield Finding(Level.NOTE, "one-way", f"{us} hears {them}, but {them} does not hear {us}", remedy)
    if found > SHOWN_MAX:
        more = f"{found - SHOWN_MAX} more pairs of agents hear each other in one direction only"
        yield Finding(Level.NOTE, "one-way", more, "name fewer with --peer, and --no-zeroconf, to see them")


def _either(
    hearer: tuple[str, ...] | None, heard: str, heard_one: tuple[str, ...] | None, by: str
) -> bool | None:
    """Whether one hears another, by the words of both; None if neither tells."""
    words = (_tells(hearer, heard), _tells(heard_one, by))
    return True if True in words else False if False in words else None


def _tells(names: tuple[str, ...] | None, name: str) -> bool | None:
    """Whether a peer lists this name; None if it lists nobody, or as many as it may and not this one."""
    if names is None or (len(names) >= HEARS_TOLD_MAX and name not in names):
        return None
    return name in names


def _agents(evidence: Evidence) -> list[Answer]:
    """Those that answer and fit, each once, the one at --listen first."""
    running = evidence.running
    own = evidence.own if running is None else running.record
    found = {} if running is None else {running.record.peer: running}
    for probe in evidence.peers:
        answer = probe.answer if probe.reached is Reached.ANSWERED and not probe.is_self else None
        if answer is not None and incompatibility(own, answer.record) is None:
            found.setdefault(answer.record.peer, answer)
    return list(found.values())


def among_themselves(evidence: Evidence) -> Evidence:
    """Where no task was given, this machine is taken to learn what is learned here, or by most others."""
    if evidence.knows_task:
        return evidence
    if evidence.running is not None:
        here = evidence.running.record.fingerprint
        return replace(evidence, own=replace(evidence.own, fingerprint=here))
    found = {
        probe.answer.record.peer: probe.answer.record.fingerprint
        for probe in evidence.peers
        if probe.answer is not None
        and not probe.is_self
        and incompatibility(evidence.own, probe.answer.record) in (None, RejectReason.WRONG_FINGERPRINT)
    }
    if not found:
        return evidence
    ((most, _),) = Counter(found.values()).most_common(1)
    return replace(evidence, own=replace(evidence.own, fingerprint=most))


def company(evidence: Evidence) -> Iterator[Finding]:
    """Whether there is anybody to learn with, and whether all of them hear and are heard."""
    own = evidence.own if evidence.running is None else evidence.running.record
    others = {
        probe.answer.record.peer: probe.answer.record
        for probe in evidence.peers
        if probe.answer is not None and not probe.is_self
    }
    fitting = [peer for peer, record in others.items() if incompatibility(own, record) is None]
    same = [peer for peer, record in others.items() if record.swarm == own.swarm]
    if not fitting and same:
        said = f"found {len(same)} of swarm {own.swarm!r}, none fits"
        yield Finding(Level.PROBLEM, "alone", said, "see the lines above")
        return
    if not fitting:
        said = f"no other agent of swarm {own.swarm!r} was found"
        yield Finding(Level.PROBLEM, "alone", said, "start one, or name one that runs with --peer HOST:PORT")
        return
    agents = _agents(evidence)
    heard = {name for one in agents for name in one.hears or ()}
    hearing = {name for one in agents for name in one.heard_by or ()}
    unheard = [one for one in agents if one.heard_by == () and one.record.peer not in heard]
    deaf = [one for one in agents if one.hears == () and one.record.peer not in hearing]
    only = evidence.running is None and len(fitting) == 1
    yield from _cut_off(evidence, unheard, only, "unheard", "nobody hears {}", "let others reach {}")
    yield from _cut_off(evidence, deaf, only, "deaf", "nobody is heard by {}", "open the port of {}")


def _cut_off(
    evidence: Evidence, found: list[Answer], only: bool, finding: str, said: str, remedy: str
) -> Iterator[Finding]:
    """Agents without any link in one direction: the one that runs here, and the others in one line.

    Of the only one that was found it is no problem: it waits for others.
    """
    if evidence.running in found:
        here = f"{remedy.format('this machine')}, or let it dial out: see the lines above"
        yield Finding(Level.PROBLEM, finding, said.format("the agent that runs here"), here)
    names = [f"{one.record.peer} at {one.record.address}" for one in found if one is not evidence.running]
    if names and only:
        told = "right while there is no other agent; else name the others with --peer"
        yield Finding(Level.NOTE, finding, f"{said.format(names[0])}, the only one found", told)
    elif names:
        told = f"{remedy.format('them')}, or let them dial out; run this there as well"
        yield Finding(Level.PROBLEM, finding, said.format(listed(names)), told)
