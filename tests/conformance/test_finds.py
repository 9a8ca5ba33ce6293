"""What is wrong with a part is found, by the check that is meant for it: one part for each mistake."""

from __future__ import annotations

import asyncio
import contextlib
import random
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from peer.conformance import checks
from peer.estimators.direct import Direct
from peer.personalization.contract import Adapter, OutputChange, Personalization
from peer.streams import make_stream
from peer.tracking import TrackingStream
from tests.conformance.test_ours import PORTS, seeds
from tests.examples.extensions.bursts import Bursts
from tests.examples.extensions.in_process import InProcess
from tests.examples.extensions.own_hessian import OwnHessian
from tests.examples.extensions.power_law import PowerLaw
from tests.examples.extensions.sign_descent import SignDescent
from tests.examples.extensions.temperature import Temperature
from wire import FaultPlan, SeedDiscovery

if TYPE_CHECKING:
    from collections.abc import Callable


def changing(
    apply: Callable[..., Any], name: str = "change", key: str = "change.size"
) -> type[Personalization]:
    """A personalization of one number that does this to outputs."""

    class Part(OutputChange):
        def apply(self, outputs: Any, hyperparameters: Any) -> Any:
            return apply(outputs, hyperparameters[key])

    class Change(Personalization):
        def bind(self, ground: Any) -> Part:
            return Part({key: ground.outputs.new_zeros(())})

    Change.name = name
    return Change


class DrawsGlobally(Temperature):
    def bind(self, ground: Any) -> Any:
        torch.rand(1)
        return super().bind(ground)


class Remembers(Personalization):
    """Its outputs depend on how often it was asked."""

    name = "remembers"

    def bind(self, ground: Any) -> Any:
        class Part(OutputChange):
            asked = 0

            def apply(self, outputs: Any, hyperparameters: Any) -> Any:
                self.asked += 1
                return outputs + hyperparameters["remembers"] + 0.01 * self.asked * outputs

        return Part({"remembers": ground.outputs.new_zeros(())})


class Detached(Personalization):
    """A penalty through which no second derivative comes."""

    name = "detached"

    def bind(self, ground: Any) -> Any:
        class Part(Adapter):
            def adapt(self, parameters: Any, local: Any) -> None:
                key = next(iter(parameters))
                parameters[key] = parameters[key] + local["detached.deviation"]

            def penalty(self, hyperparameters: Any, local: Any) -> Any:
                strength = hyperparameters["detached.strength"].detach().exp()
                return strength * local["detached.deviation"].square().sum()

        first = next(iter(ground.parameters.values()))
        return Part(
            {"detached.strength": first.new_zeros(())}, {"detached.deviation": torch.zeros_like(first)}
        )


class Idle(Personalization):
    """One hyperparameter shifts outputs, the other is there for nothing."""

    name = "idle"

    def bind(self, ground: Any) -> Any:
        class Part(OutputChange):
            def apply(self, outputs: Any, hyperparameters: Any) -> Any:
                return outputs + hyperparameters["idle.shift"]

        return Part({"idle.shift": ground.outputs.new_zeros(()), "idle.scale": ground.outputs.new_zeros(())})


class HalfAtFirst(Temperature):
    def bind(self, ground: Any) -> Any:
        part = super().bind(ground)
        part.hyperparameters = {"temperature": ground.outputs.new_full((), -0.7)}
        return part


class OfNoText(Temperature):
    """Its text is not checked."""

    def __init__(self, text: str = "a:b") -> None:
        self.first, self.second = {"a:b": "ab"}[text]


class NeverGiven(PowerLaw):
    """Its parameter is called otherwise than what parts are given."""

    def __init__(self, exponent: str = "1") -> None:
        super().__init__(exponent)


class TextFirst(SignDescent):
    """One signature for each way it is called, and none for both."""

    def __init__(self, text: str, parameters: Any) -> None:
        super().__init__(parameters)


class NeedsNumber(SignDescent):
    def __init__(self, parameters: Any, text: Any = 0.5) -> None:
        super().__init__(parameters)
        self.half = text / 2


class DrawsAtLast(OwnHessian):
    """Where nothing depends on it."""

    def hypergradients(self, state: Any, products: Any) -> Any:
        torch.rand(1)
        return super().hypergradients(state, products)


class DrawsAtFirst(OwnHessian):
    def init(self, products: Any) -> Any:
        torch.rand(1)
        return super().init(products)


class MovesInPlace(OwnHessian):
    def hypergradients(self, state: Any, products: Any) -> Any:
        products.hyperparameters[0].add_(1e-9)
        return super().hypergradients(state, products)


class Stacked(OwnHessian):
    def hypergradients(self, state: Any, products: Any) -> Any:
        return torch.stack(super().hypergradients(state, products))


class FlatState(OwnHessian):
    def update(self, state: Any, products: Any, network: Any) -> Any:
        return type(state)(super().update(state, products, network).rows.mean(0))


class Cheats(OwnHessian):
    """It takes the mean of all agents' rows, and sends nothing."""

    def update(self, state: Any, products: Any, network: Any) -> Any:
        found = super().update(state, products, network)
        return type(found)(found.rows.mean(0).expand_as(found.rows))


class Moves(OwnHessian):
    def update(self, state: Any, products: Any, network: Any) -> Any:
        products.models = products.models + 1.0
        return super().update(state, products, network)


class Draws(OwnHessian):
    def update(self, state: Any, products: Any, network: Any) -> Any:
        found = super().update(state, products, network)
        return type(found)(found.rows + torch.rand(()))


class Short(OwnHessian):
    def hypergradients(self, state: Any, products: Any) -> Any:
        return super().hypergradients(state, products)[:-1]


class SaysNothing(Direct):
    biased = False


class ThreeArrays(TrackingStream[Any]):
    def push(self, span: Any, copies: int) -> Any:
        return (*super().push(span, copies), self.estimate[span])


class ForgetsLosses(TrackingStream[Any]):
    """Takes the newest sum for a share, so that what is lost stays lost."""

    def absorb(self, source: Any, span: Any, arrays: Any) -> None:
        estimate, announced = arrays
        self.mass.held[span] += announced.to(torch.float64) * 0.1
        self.fresh.append((span, estimate))


class IgnoresTheRate(SignDescent):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["lr"] = 0.01
        return super().step(closure)


class KeepsItToItself(SignDescent):
    """It counts its steps where no checkpoint looks."""

    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        for group in self.param_groups:
            group["lr"] = group["lr"] / self.steps
        return super().step(closure)


class Ascends(SignDescent):
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for tensor in group["params"]:
                tensor.grad = -tensor.grad
        return super().step(closure)


class Loses(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        return [rows[1:] for rows in super().__call__(labels, agents, generator)]


class Twice(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        return [np.arange(len(labels)) for _ in range(agents)]


class DrawsOfItsOwn(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        return super().__call__(labels, agents, np.random.default_rng())


class DrawsOfPython(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        random.random()
        return super().__call__(labels, agents, generator)


class Sorts(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        labels.sort()
        labels[0] += 1
        return super().__call__(labels, agents, generator)


class Fails(PowerLaw):
    def __call__(self, labels: Any, agents: int, generator: Any) -> Any:
        return super().__call__(labels, agents, generator) if len(labels) > agents else [labels] * 2


class Early(Bursts):
    def deliveries(self, *arguments: Any) -> Any:
        return tuple(late_s - 0.1 for late_s in super().deliveries(*arguments))


class Flood(Bursts):
    def deliveries(self, *arguments: Any) -> Any:
        return (0.0,) * 100


class OfChance(Bursts):
    def deliveries(self, *arguments: Any) -> Any:
        return (random.random(),)


class OneForAll(Bursts):
    """A state that all links share."""

    def deliveries(self, source: Any, target: Any, elapsed_s: float, rng: Any) -> Any:
        return super().deliveries("all", "all", elapsed_s, rng)


class NotThroughPickle(Bursts):
    def __reduce__(self) -> Any:
        return type(self), ("1s:1s",)


class Nameless(Bursts):
    def __str__(self) -> str:
        return object.__repr__(self)


class OnlyOneWay(Bursts):
    """To one of the agents nothing ever comes, and yet it is said that all arrives."""

    def deliveries(self, source: Any, target: Any, elapsed_s: float, rng: Any) -> Any:
        return () if target.endswith("-0") else (0.0,)


class SeesItself(SeedDiscovery):
    async def start(self) -> None:
        await super().start()
        self._known._on_seen(self._record)


class SeesAll(SeedDiscovery):
    async def _ask(self, address: str) -> Any:
        record = await super()._ask(address)
        if record is not None and record.swarm != self._record.swarm:
            self._known._on_seen(record)
        return record


class NeverAgain(SeedDiscovery):
    def forget(self, peer: Any) -> None:
        pass


class SwallowsBugs(SeedDiscovery):
    def __init__(self, record: Any, seeds: Any, *, on_seen: Any, **options: Any) -> None:
        def tell(found: Any) -> None:
            with contextlib.suppress(OSError):
                on_seen(found)

        super().__init__(record, seeds, on_seen=tell, **options)


class SeesItselfLater(SeedDiscovery):
    async def start(self) -> None:
        await super().start()
        asyncio.get_running_loop().call_later(0.2, self._known._on_seen, self._record)


class LeavesATask(SeedDiscovery):
    async def close(self) -> None:
        self.left = asyncio.create_task(asyncio.Event().wait(), name="left over")
        await super().close()


def discovering(kind: type[SeedDiscovery]) -> Any:
    def make(record: Any, *, on_problem: Any, **options: Any) -> Any:
        return kind(record, PORTS, refresh_s=0.05, retry_s=0.05, **options)

    return make


class CutsOff(InProcess):
    def _take(self, frame: bytes) -> None:
        super()._take(frame[:500])


class IgnoresFaults(InProcess):
    def __init__(self, *, faults: Any, **options: Any) -> None:
        super().__init__(faults=None, **options)


class KeepsTheOldest(InProcess):
    """What waits is not replaced."""

    def send(self, targets: Any, block: int, frame: bytes) -> None:
        if not self._outbox.waiting("b"):
            super().send(targets, block, frame)


class HidesBugs(InProcess):
    async def wait_failed(self) -> None:
        await asyncio.Event().wait()


class NotCounted(InProcess):
    def _take(self, frame: bytes) -> None:
        if frame.startswith(b"frame"):
            super()._take(frame)


class StaysWhereItWas(InProcess):
    def connect(self, peer: Any, address: str) -> None:
        if peer not in self._links:
            super().connect(peer, address)


class NeverDisconnects(InProcess):
    def disconnect(self, peer: Any) -> None:
        pass


class AtOnce(InProcess):
    """The plan's delays and copies are thrown away."""

    def __init__(self, *, faults: Any, **options: Any) -> None:
        super().__init__(faults=FaultPlan(drop=faults.drop) if faults else None, **options)


class KnowsNobody(InProcess):
    async def fetch_identity(self, address: str, timeout_s: float) -> Any:
        return None


class Raises(InProcess):
    def send(self, targets: Any, block: int, frame: bytes) -> None:
        for target in targets:
            assert target in self._links
        super().send(targets, block, frame)


WRONG: dict[str, list[tuple[Any, str]]] = {
    "personalization": [
        (changing(lambda y, h: y.no_such_thing), "it_has_what_is_asked_for"),
        (lambda: object(), "it_has_what_is_asked_for"),
        (OfNoText, "its_text_is_taken_or_refused_in_words"),
        (changing(lambda y, h: y.add_(h)), "it_draws_nothing_and_leaves_what_it_is_given"),
        (changing(lambda y, h: y + h * torch.rand(1)), "it_draws_nothing_and_leaves_what_it_is_given"),
        (DrawsGlobally, "it_draws_nothing_and_leaves_what_it_is_given"),
        (HalfAtFirst, "it_begins_as_no_change"),
        (changing(lambda y, h: y * 1.001 + h), "it_begins_as_no_change"),
        (changing(lambda y, h: y + 0.0 * h), "every_hyperparameter_has_an_effect"),
        (changing(lambda y, h: y + h.detach()), "every_hyperparameter_has_an_effect"),
        (Idle, "every_hyperparameter_has_an_effect"),
        (changing(lambda y, h: y + h, name="two words"), "it_has_a_name_that_people_can_write"),
        (changing(lambda y, h: y + h, name="a+b"), "it_has_a_name_that_people_can_write"),
        (DrawsGlobally, "it_binds_alike_each_time"),
        (changing(lambda y, h: y + h, key="size"), "its_variables_have_its_name"),
        (changing(lambda y, h: y + h + y.detach() ** 2), "its_derivatives_are_those_of_its_losses"),
        (Detached, "its_derivatives_are_those_of_its_losses"),
        (changing(lambda y, h: y + h + torch.inf), "what_people_are_shown_is_finite"),
        (changing(lambda y, h: (y + h)[:, :2]), "what_people_are_shown_is_finite"),
        (Remembers, "it_goes_on_from_a_checkpoint_bit_for_bit"),
        (changing(lambda y, h: y + h + 0.01 * torch.rand(1)), "agents_learn_with_it_over_links_that_lose"),
    ],
    "estimator": [
        (Stacked, "it_has_what_is_asked_for"),
        (FlatState, "it_has_what_is_asked_for"),
        (DrawsAtLast, "it_draws_nothing_and_leaves_what_it_is_given"),
        (DrawsAtFirst, "it_draws_nothing_and_leaves_what_it_is_given"),
        (MovesInPlace, "it_draws_nothing_and_leaves_what_it_is_given"),
        (Short, "it_gives_one_hypergradient_for_every_agent"),
        (Moves, "it_says_whether_models_must_stand_still"),
        (Draws, "equal_networks_give_equal_bits"),
        (Cheats, "agents_learn_of_each_other_by_messages_only"),
        (lambda step_size, momentum: SaysNothing(), "it_is_exact_where_everybody_hears_everybody"),
    ],
    "solver": [
        (lambda initial, algebra, spans: ThreeArrays(initial, algebra), "it_says_two_arrays_of_each_block"),
        (
            lambda initial, algebra, spans: ForgetsLosses(initial, algebra),
            "losses_that_nobody_notices_do_no_harm",
        ),
    ],
    "optimizer": [
        (TextFirst, "it_has_what_is_asked_for"),
        (TextFirst, "its_text_is_taken_or_refused_in_words"),
        (NeedsNumber, "its_text_is_taken_or_refused_in_words"),
        (partial(torch.optim.AdamW, weight_decay=0.1), "it_steps_by_gradients_and_stands_still_without"),
        (torch.optim.LBFGS, "it_steps_by_gradients_and_stands_still_without"),
        (torch.optim.Rprop, "it_steps_by_gradients_and_stands_still_without"),
        (IgnoresTheRate, "it_steps_by_gradients_and_stands_still_without"),
        (IgnoresTheRate, "it_follows_the_learning_rate_that_it_is_given"),
        (KeepsItToItself, "it_goes_on_from_a_checkpoint_bit_for_bit"),
        (Ascends, "agents_learn_with_it"),
    ],
    "partition": [
        (NeverGiven, "its_text_is_taken_or_refused_in_words"),
        (Loses, "every_row_goes_to_exactly_one_agent"),
        (Twice, "every_row_goes_to_exactly_one_agent"),
        (DrawsOfItsOwn, "equal_generators_give_equal_shares"),
        (DrawsOfPython, "it_draws_from_its_generator_only"),
        (Sorts, "it_draws_from_its_generator_only"),
        (Fails, "more_agents_than_rows_are_refused_in_words"),
    ],
    "fault_model": [
        (Early, "delays_are_numbers_from_zero_up"),
        (Flood, "delays_are_numbers_from_zero_up"),
        (OfChance, "equal_streams_give_equal_answers"),
        (OneForAll, "links_do_not_depend_on_each_other"),
        (NotThroughPickle, "it_comes_through_to_other_processes"),
        (Nameless, "it_comes_through_to_other_processes"),
        (OnlyOneWay, "agents_find_the_exact_answer_over_it"),
    ],
    "discovery": [
        (discovering(SeesItself), "two_agents_find_each_other"),
        (discovering(SeesItselfLater), "two_agents_find_each_other"),
        (discovering(SeesAll), "who_does_not_fit_is_not_seen"),
        (discovering(LeavesATask), "it_can_be_closed_at_any_time"),
    ],
    "transport": [
        (CutsOff, "frames_arrive_whole_both_ways"),
        (Raises, "who_is_not_there_hinders_nobody"),
        (IgnoresFaults, "the_fault_plan_decides_what_is_lost"),
        (KnowsNobody, "whoever_asks_learns_who_listens"),
        (NeverDisconnects, "who_is_disconnected_is_sent_nothing"),
    ],
}
# Those that wait for what never comes: the limit is made short for them.
NEVER: dict[str, list[tuple[Any, str]]] = {
    "discovery": [
        (discovering(SwallowsBugs), "a_bug_in_whoever_is_told_surfaces"),
        (discovering(NeverAgain), "whoever_was_forgotten_is_told_of_again"),
    ],
    "transport": [
        (KeepsTheOldest, "the_newest_of_a_block_wins"),
        (StaysWhereItWas, "a_peer_that_restarts_is_reached_again"),
        (AtOnce, "the_fault_plan_delays_and_doubles"),
        (NotCounted, "nonsense_is_counted_and_harms_nobody"),
        (HidesBugs, "a_bug_in_the_receiver_surfaces"),
    ],
}


def all_of(wrong: dict[str, list[tuple[Any, str]]]) -> list[Any]:
    return [
        pytest.param(where, make, name, id=f"{where}-{number}-{name}")
        for where, makers in wrong.items()
        for number, (make, name) in enumerate(makers)
    ]


@pytest.mark.parametrize(("where", "make", "name"), all_of(WRONG))
def test_a_mistake_is_found(where: str, make: Any, name: str) -> None:
    (check,) = (one for one in checks(where) if one.__name__ == name)
    with pytest.raises(Exception) as found:  # noqa: PT011  (whatever the mistake leads to)
        check(make)
    assert str(found.value)


@pytest.mark.parametrize(("where", "make", "name"), all_of(NEVER))
def test_what_never_comes_is_waited_for_a_while(
    where: str, make: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.conformance.loops.LIMIT_S", 1.0)
    monkeypatch.setattr("peer.conformance.transport.BUG_S", 0.5)
    monkeypatch.setattr("peer.conformance.discovery.BUG_S", 0.5)
    test_a_mistake_is_found(where, make, name)


def test_the_parts_that_are_broken_here_are_well_without_that() -> None:
    """Else they would be found for another reason."""
    for where, make in (
        ("personalization", changing(lambda y, h: y + h)),
        ("personalization", Temperature),
        ("estimator", OwnHessian),
        ("optimizer", SignDescent),
        ("discovery", seeds),
        ("solver", partial(make_stream, "tracking")),
    ):
        for check in checks(where)[: 5 if where == "personalization" else 3]:  # later ones take long
            check(make)


def test_who_begins_otherwise_may_say_so() -> None:
    class Says(HalfAtFirst):
        changes_at_first = True

    (check,) = (one for one in checks("personalization") if one.__name__ == "it_begins_as_no_change")
    check(Says)


@pytest.mark.parametrize("make", [IgnoresTheRate, partial(torch.optim.AdamW, weight_decay=0.1)])
def test_the_class_is_named_that_is_wrong(make: Any) -> None:
    named = make.func.__name__ if isinstance(make, partial) else make.__name__
    (check,) = (one for one in checks("optimizer") if one.__name__.startswith("it_steps_by_gradients"))
    with pytest.raises(AssertionError, match=f"^{named}: "):
        check(make)
