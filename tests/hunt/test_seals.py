"""Worlds with a key: what is not signed by who it names is taken by nobody, and that it would be is found."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

import pytest

from peer.hunt.hostile import IMPOSTOR, KINDS
from peer.hunt.seals import IMPOSTORS, SealedPush, Seals, is_sealed
from peer.hunt.trial import Trial
from peer.hunt.wiretap import Replays
from peer.hunt.world import Lies, Trouble, World, draw
from wire import DecodeError, Push
from wire.envelope import Opener

SEALED = 79  # a seed of a small world


def quiet(*troubles: Trouble) -> World:
    return replace(draw(SEALED), troubles=troubles)


def lies(kind: str) -> Trouble:
    return Trouble(f"liar: {kind}", "", lies=(Lies(kind, 20.0, 60.0),))


def test_few_worlds_are_sealed_and_have_an_impostor() -> None:
    seeds = [seed for seed in range(1000) if is_sealed(seed)]
    assert 20 <= len(seeds) <= 60
    for seed in seeds:
        world = draw(seed)
        assert world.sealed
        impostors = [trouble for trouble in world.troubles if trouble.kind == f"liar: {IMPOSTOR}"]
        assert len(impostors) == (len(world.tasks) > 1)
    assert "sealed; " in next(iter(draw(SEALED).told()))


def test_nothing_of_who_has_no_key_or_another_name_is_taken() -> None:
    found = Trial(quiet(*map(lies, (*KINDS, IMPOSTOR)))).run()
    assert not found.violation
    for reason in ("unencrypted", "wrong_key", "wrong_identity"):
        assert found.marks[f"refused: {reason}"] > 10
    assert "PeerQuarantined" not in found.marks
    assert found == Trial(quiet(*map(lies, (*KINDS, IMPOSTOR)))).run()


def test_what_is_sent_again_is_opened_once() -> None:
    replays = Replays("sent again", 20.0, 60.0)
    found = Trial(quiet(Trouble("sent again", "", replays=(replays,)))).run()
    assert not found.violation
    assert found.marks["refused: replayed"] > 10


def anybody(self: Opener, name: Any, opened: Any) -> None:
    """Whoever has the key may speak under any name."""


def test_a_name_that_is_not_checked_is_found() -> None:
    with mock.patch.object(Opener, "check_sender", anybody):
        assert Trial(draw(SEALED)).run().checker == "identity_key"


def test_an_impostor_of_each_kind_is_refused_for_its_own_reason() -> None:
    seals, trial = Seals(SEALED), Trial(draw(SEALED))
    member = trial.members[0]
    agent = trial.make_agent(member, founder=True, epoch_floor=0)
    honest = seals.seal(agent._beacon(left=False))
    opener = seals.opener()
    opened = seals.open(opener, honest)
    assert opened == Push(*[getattr(honest, name) for name in Push.__slots__])
    reasons = []
    for now in range(len(IMPOSTORS)):
        for push in seals.pretend(agent, [member.peer, "agent-1"], float(now)):
            assert isinstance(push, SealedPush)
            assert push.sender == "agent-1"
            with pytest.raises(DecodeError) as raised:
                seals.open(opener, push)
            reasons.append(str(raised.value.reason))
    assert reasons == ["wrong_key", "wrong_identity", "wrong_identity", "unencrypted"]
    assert seals.pretend(agent, [member.peer], 0.0) == []
