"""What every model of links, a `wire.link_models.LinkModel`, has to hold."""

from __future__ import annotations

import itertools
import math
import pickle
import random
from typing import TYPE_CHECKING, Final

import torch

from peer.conformance.common import has_what_is_asked_for, takes_its_text
from peer.quadratic import QuadraticProblem, closed_form
from peer.virtual_swarm import simulate
from wire import FaultPlan, link_rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire import LinkModel

    Make = Callable[[], LinkModel]

MESSAGES: Final = 2_000
EVERY_S: Final = 0.05
COPIES_MAX: Final = 16  # of one: more would be a flood
AGENTS, TICKS = 4, 1_500
OUTAGE_TICKS: Final = 20  # the longest, at most
ARRIVES: Final = 0.05  # of the messages; with fewer nothing is to be learned
EXACT: Final = 1e-3


def _answers(model: LinkModel, source: str, target: str, messages: int = MESSAGES) -> list[tuple[float, ...]]:
    rng = link_rng(1, source, target)
    return [model.deliveries(source, target, number * EVERY_S, rng) for number in range(messages)]


def it_has_what_is_asked_for(make: Make) -> None:
    """It can be asked about a message."""
    has_what_is_asked_for("fault_model", make, make())
    _answers(make(), "a", "b", 1)


def its_text_is_taken_or_refused_in_words(make: Make) -> None:
    """NAME:TEXT on the command line, whatever TEXT is."""
    takes_its_text(make)


def delays_are_numbers_from_zero_up(make: Make) -> None:
    """In seconds; and of one copy come a few at most."""
    for number, copies in enumerate(_answers(make(), "a", "b")):
        assert isinstance(copies, tuple), f"message {number}: {copies!r} is no tuple"
        assert len(copies) <= COPIES_MAX, f"message {number}: {len(copies)} copies of one"
        for late_s in copies:
            assert 0 <= late_s < math.inf, f"message {number}: a delay of {late_s!r} seconds"


def equal_streams_give_equal_answers(make: Make) -> None:
    """It draws from the stream that it is given, and from nothing else."""
    state = random.getstate()
    assert _answers(make(), "a", "b") == _answers(make(), "a", "b"), "two equal links behave differently"
    assert state == random.getstate(), "it draws from Python's global random stream"


def links_do_not_depend_on_each_other(make: Make) -> None:
    """Also the way back is another link."""
    alone = _answers(make(), "a", "b", 300)
    model = make()
    streams = {link: link_rng(1, *link) for link in (("a", "b"), ("b", "a"), ("a", "c"))}
    among = []
    for number in range(300):
        turn = list(streams.items())
        for link, rng in turn if number % 2 else reversed(turn):
            found = model.deliveries(*link, number * EVERY_S, rng)
            if link == ("a", "b"):
                among.append(found)
    assert alone == among, "what it does on a link changes with what is sent on others"


def it_comes_through_to_other_processes(make: Make) -> None:
    """Pickled before it was asked anything; and `str` is one printable line."""
    model = make()
    other = pickle.loads(pickle.dumps(model))  # noqa: S301  (our own)
    assert _answers(model, "a", "b", 300) == _answers(other, "a", "b", 300), "its copy behaves differently"
    assert str(model).isprintable(), f"str() is {str(model)!r}"
    assert " object at 0x" not in str(model), "str() tells where it is in memory: give it a __str__"
    assert str(model) == str(make()), "two that are made alike have different texts"


def agents_find_the_exact_answer_over_it(make: Make) -> None:
    """Whatever it does, nothing is biased, if something arrives at all.

    Ticks are as long as its delays and outages ask for, so that those of minutes are no hindrance.
    """
    answers = _answers(make(), "a", "b")
    came = [number for number, copies in enumerate(answers) if copies]
    if len(came) < ARRIVES * MESSAGES:
        return  # too little to learn anything from
    late_s = sum(min(answers[number]) for number in came) / len(came)
    gaps = [after - before for before, after in itertools.pairwise([-1, *came, MESSAGES])]
    tick_s = max(EVERY_S, late_s, max(gaps) * EVERY_S / OUTAGE_TICKS)
    generator = torch.Generator().manual_seed(0)
    problems = [QuadraticProblem.random(generator) for _ in range(AGENTS)]
    plan = FaultPlan(model=make())
    found = simulate(
        problems, faults=plan, ticks=TICKS, tick_s=tick_s, wire_dtype="float64", evaluate_every=0
    )
    truth = closed_form(problems).model
    for agent in found.agents:
        assert torch.isfinite(agent.model["x"]).all(), f"the model of {agent.id} is not finite"
        error = float((agent.model["x"] - truth).norm() / truth.norm())
        assert error < EXACT, (
            f"{agent.id} is off by {error:.2g} after {TICKS} ticks of {tick_s:.3g} s, although messages "
            "arrive: does it lose all that goes to or comes from some agent?"
        )


CHECKS: Final = (
    it_has_what_is_asked_for,
    its_text_is_taken_or_refused_in_words,
    delays_are_numbers_from_zero_up,
    equal_streams_give_equal_answers,
    links_do_not_depend_on_each_other,
    it_comes_through_to_other_processes,
    agents_find_the_exact_answer_over_it,
)
