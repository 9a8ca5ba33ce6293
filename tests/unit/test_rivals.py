"""Methods to compare with: batches against single agents, links, what a method is without its own."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.errors import ProblemError, SettingError
from peer.lockstep import HEADER_BYTES, Graph, LockstepNetwork, erdos_renyi, make_graph
from peer.module_problem import ModuleProblem
from peer.rivals.alone import FineTuned, Local
from peer.rivals.crowd import Crowd
from peer.rivals.groups import Clustered, FedEM
from peer.rivals.layers import FedALA, PersonalHead, last_layer
from peer.rivals.links import CommonRounds, Links, NoLinks, SilentLinks
from peer.rivals.method import Descent, Method, SharedModel, run
from peer.rivals.own_copy import APFL, Ditto
from peer.rivals.registry import RIVALS, SETTINGS
from peer.rivals.shared import FedProx, PushSumSGP

SIZES = (9, 40, 23)  # samples to train on; batches have 16
DECAY = 1e-2
STEP = {"step": 0.2, "momentum": 0.5}


def samples(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (count,), generator=generator)
    inputs = torch.randn(count, 4, generator=generator) + torch.nn.functional.one_hot(targets, 4) * 2
    return inputs, targets


def network(seed: int = 0) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3))
    for tensor in layers.parameters():
        tensor.data = torch.randn(tensor.shape, generator=generator) / 2
    return layers


def problems(sizes: tuple[int, ...] = SIZES, *, alike: bool = False) -> list[ModuleProblem]:
    return [
        ModuleProblem(
            network(),
            samples(size, 0 if alike else seed),
            samples(7, 50 + seed),
            samples(11, 90 + seed),
            weight_decay=DECAY,
            batch_size=16,
            seed=0 if alike else seed,
        )
        for seed, size in enumerate(sizes)
    ]


def crowd(*, alike: bool = False) -> Crowd:
    return Crowd(problems((20, 20, 20) if alike else SIZES, alike=alike))


def perfect(agents: int = 3) -> CommonRounds:
    return CommonRounds(LockstepNetwork(make_graph(agents)))


def ended(
    kind: type[Method], steps: int = 12, *, alike: bool = False, **setting: float | str
) -> torch.Tensor:
    """The models after local work."""
    links = perfect() if kind.has_links else NoLinks([1.0] * 3)
    method = kind(crowd(alike=alike), links, {**STEP, **setting}, steps)
    return run(method, links, steps).before.models.squeeze(1)


# ---- agents in one batch


def test_gradients_and_losses_are_those_of_every_agent_by_itself() -> None:
    """Also of agents that have fewer samples than a batch, which are filled up."""
    own = problems()
    together = Crowd(own)
    models = torch.randn(3, together.size, generator=torch.Generator().manual_seed(5))
    stack = together.batches(torch.arange(3))
    assert stack.inputs.shape == (3, 16, 4)
    found, losses = together.gradients(models, stack), together.sample_losses(models, stack)
    for row, problem in enumerate(problems()):
        batch = next(problem.batches())
        flat = models[row].clone().requires_grad_()
        loss = problem.plain_loss(together.layout.unflatten(flat), batch)
        (gradient,) = torch.autograd.grad(loss, flat)
        assert torch.allclose(found[row], gradient, atol=1e-6)
        decay = DECAY / 2 * float(models[row].square().sum())
        mean = float((losses[row] * stack.weights[row]).sum())
        assert mean + decay == pytest.approx(float(loss.detach()), abs=1e-5)


def test_some_agents_draw_while_the_others_wait() -> None:
    one, other = Crowd(problems()), Crowd(problems())
    one.batches(torch.tensor([1]))
    second = one.batches(torch.tensor([0, 2]))
    first = other.batches(torch.arange(3))
    for place, row in enumerate((0, 2)):
        real = int((second.weights[place] > 0).sum())
        assert torch.equal(second.inputs[place, :real], first.inputs[row, :real])


def test_training_and_validation_samples_together() -> None:
    together = Crowd(problems(), together=True)
    assert int((together.batches(torch.tensor([0])).weights > 0).sum()) == 16  # 9 and 7


def test_accuracies_of_one_model_and_of_mixtures() -> None:
    own = problems()
    together = Crowd(own)
    models = torch.randn(3, 2, together.size, generator=torch.Generator().manual_seed(6))
    alone = together.accuracies(models[:, :1], None, "test")
    for row, problem in enumerate(own):
        assert alone[row] == problem.plain_accuracy(together.layout.unflatten(models[row, 0]))
    first = together.accuracies(models, torch.tensor([[1.0, 0.0]] * 3), "test")
    assert first == alone
    assert together.accuracies(models, torch.full((3, 2), 0.5), "validation") != first


def test_losses_over_all_training_samples() -> None:
    own = problems()
    together = Crowd(own)
    models = torch.randn(3, 2, together.size, generator=torch.Generator().manual_seed(7))
    found = together.training_losses(models)
    for row, problem in enumerate(own):
        for place in range(2):
            named = together.layout.unflatten(models[row, place])
            loss = float(problem.plain_loss(named, problem.training_set))
            decay = DECAY / 2 * float(models[row, place].square().sum())
            assert float(found[row, place]) == pytest.approx(loss - decay, abs=1e-5)


def test_what_is_no_crowd_is_refused() -> None:
    inputs, targets = samples(9, 0)
    numbers = ModuleProblem(
        torch.nn.Linear(4, 1),
        (inputs, targets[:, None].float()),
        (inputs, targets[:, None].float()),
        loss=torch.nn.functional.mse_loss,
    )
    with pytest.raises(ProblemError, match="learn classes"):
        Crowd([numbers])
    other = ModuleProblem(torch.nn.Linear(4, 3), (inputs, targets), (inputs, targets))
    with pytest.raises(ProblemError, match="different networks"):
        Crowd([problems()[0], other])


# ---- links


@settings(max_examples=8)
@given(
    agents=st.integers(2, 6),
    drop=st.sampled_from([0.0, 0.3, 0.6]),
    delay=st.sampled_from([0.0, 0.5, 3.0]),
    seed=st.integers(0, 10**6),
)
def test_silent_links_keep_all_mass_and_find_the_mean(
    agents: int, drop: float, delay: float, seed: int
) -> None:
    """Whatever is lost, late or overtaken, at any speeds: push-sum over running sums."""
    rng = random.Random(seed)
    links = SilentLinks(
        make_graph(agents, fanout=2, seed=seed),
        drop=drop,
        mean_delay_ticks=delay,
        speeds=[rng.uniform(0.3, 3.0) for _ in range(agents)],
        seed=seed,
    )
    held = torch.randn(agents, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    held[:, -1] = 1.0
    wanted, mean = held.sum(0), held[:, :-1].mean(0)
    assert torch.equal(links.total(held), wanted)  # nothing has been sent
    for _ in range(400):
        held = links.exchange(held, links.acting())
        assert torch.allclose(links.total(held), wanted, atol=1e-9)
    estimates = held[:, :-1] / held[:, -1:]
    assert torch.allclose(estimates, mean.expand_as(estimates), atol=1e-2)
    assert links.bytes == links.messages * (24 + 16)


def test_without_links_nothing_comes() -> None:
    links, held = NoLinks([1.0] * 3), torch.ones(3, 2)
    assert links.exchange(held, links.acting()) is held
    assert links.messages == links.bytes == 0


@pytest.mark.parametrize(
    "links",
    [
        SilentLinks(make_graph(3), drop=0.0, mean_delay_ticks=0.0, speeds=[0.5, 1.0, 2.0]),
        NoLinks([0.5, 1.0, 2.0]),
    ],
)
def test_turns_follow_speeds(links: Links) -> None:
    turns = torch.zeros(3)
    for _ in range(links.rounds(100)):
        turns[links.acting()] += 1
    assert turns.tolist() == [50, 100, 200]


def test_a_random_graph_is_undirected_connected_and_as_dense_as_asked() -> None:
    graph = erdos_renyi(30, 0.4, rates=(0.4, 0.8), seed=3)
    rates = graph.rates
    assert torch.equal(rates, rates.T)
    links = (rates > 0).sum() - 30
    assert 0.3 < int(links) / (30 * 29) < 0.5
    assert sum(map(len, graph.targets)) == int(links)
    assert float(rates[rates > 0].min()) >= 0.4
    with pytest.raises(SettingError, match="were not connected"):
        erdos_renyi(20, 0.01)


def test_undirected_links_are_up_both_ways_or_not_at_all() -> None:
    network = LockstepNetwork(erdos_renyi(8, 1.0, rates=(0.4, 0.8)), symmetric=True, number_bytes=4, seed=2)
    up = torch.zeros(8, 8)
    for _ in range(400):
        delivered, copies = network.deliver(10)
        assert torch.equal(delivered, delivered.T)
        assert torch.equal(copies, delivered.sum(0))
        up += delivered
    assert float((up / 400 - network.graph.rates.clone().fill_diagonal_(0)).abs().max()) < 0.12
    assert network.bytes == network.messages * (24 + 40)


# ---- methods


@pytest.mark.parametrize("name", RIVALS)
def test_every_method_learns_in_rounds_and_over_silent_links(name: str) -> None:
    kind = RIVALS[name]
    assert len(kind.grid) == SETTINGS == 6
    assert kind.after
    untrained = crowd()
    start = untrained.training_losses(untrained.repeated(untrained.initial)[:, None]).mean()
    for number, setting in enumerate((kind.grid[0], kind.grid[-1])):
        own = crowd()
        turn = kind.steps_a_turn(setting)
        silent = SilentLinks(
            make_graph(3), drop=0.3, mean_delay_ticks=1.0, speeds=(0.5, 1.0, 2.0), turn_ticks=turn
        )
        links = NoLinks([1.0] * 3) if not kind.has_links else perfect() if number % 2 else silent
        found = run(kind(own, links, setting, 60), links, 60)
        for moment in (found.before, found.after):
            if moment is not None:
                assert bool(torch.isfinite(moment.models).all())
                losses = own.training_losses(moment.models)
                if moment.shares is None:
                    assert float(losses.mean()) < float(start) * 0.9, (setting, moment is found.after)
                else:
                    assert torch.allclose(moment.shares.sum(1), torch.ones(3))
        assert (links.messages > 0) == kind.has_links


def test_where_all_have_the_same_data_sharing_changes_nothing() -> None:
    alone = ended(Local, alike=True)
    assert torch.allclose(ended(PushSumSGP, alike=True), alone, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "setting", "other", "plain"),
    [
        (FedProx, {"strength": 0.0}, PushSumSGP, {"local_steps": 5}),
        (FineTuned, {"last_share": 0.0}, PushSumSGP, {}),
        (Clustered, {"models": 1}, PushSumSGP, {}),
        (FedEM, {"models": 1}, PushSumSGP, {}),
    ],
)
def test_without_what_is_its_own_a_method_is_another(
    kind: type[Method], setting: dict[str, float], other: type[Method], plain: dict[str, float]
) -> None:
    assert torch.allclose(ended(kind, 15, **setting), ended(other, 15, **plain), atol=1e-5)


def test_own_models_that_nothing_pulls_are_those_of_agents_alone() -> None:
    """Small sets are used whole: else batches would differ, since the shared model draws from the same."""
    small = (9, 12, 15)

    def last(kind: type[Method], **setting: float) -> torch.Tensor:
        links = perfect() if kind.has_links else NoLinks([1.0] * 3)
        method = kind(Crowd(problems(small)), links, {**STEP, **setting}, 12)
        return run(method, links, 12).before.models.squeeze(1)

    alone = last(Local)
    assert torch.allclose(last(Ditto, strength=0.0), alone, atol=1e-5)
    assert torch.allclose(last(APFL, own_share=1.0), alone, atol=1e-5)
    assert torch.allclose(last(APFL, own_share=0.0), last(PushSumSGP), atol=1e-5)
    pulled = last(Ditto, strength=3.0)
    shared = last(PushSumSGP)
    assert (pulled - shared).norm() < 0.7 * (alone - shared).norm()


def test_a_head_stays_where_it_is_and_the_body_is_shared() -> None:
    own, links = crowd(), perfect()
    method = PersonalHead(own, links, {**STEP, "training": "together"}, 40)
    after = run(method, links, 40).after
    assert after is not None
    models, head = after.models.squeeze(1), last_layer(own)
    assert int(head.sum()) == 18
    assert torch.allclose(models[0, ~head], models[1, ~head], atol=1e-6)
    assert float((models[0, head] - models[1, head]).norm()) > 0.1


def test_in_turn_trains_the_head_before_the_body() -> None:
    own, links = crowd(), perfect()
    method = PersonalHead(own, links, {**STEP, "training": "in turn", "local_steps": 2}, 2)
    head = last_layer(own)
    calls: list[torch.Tensor] = []
    original = own.gradients

    def spied(models: torch.Tensor, stack: object) -> torch.Tensor:
        calls.append(models.clone())
        return original(models, stack)  # type: ignore[arg-type]

    own.gradients = spied  # type: ignore[method-assign]
    method.turn(torch.arange(3))
    assert torch.equal(calls[0][:, ~head], calls[1][:, ~head])  # the first step moved the head alone
    assert not torch.equal(calls[0][:, head], calls[1][:, head])


@pytest.mark.slow
def test_adaptive_mixes_follow_what_helps() -> None:
    """Agents whose labels are of no use to each other come to rest on their own models."""
    own = problems((40, 40, 40))
    twisted = [one.relabelled((one.training_set[1] + shift) % 3) for shift, one in enumerate(own)]
    links = perfect()
    method = APFL(Crowd(twisted), links, {**STEP, "own_share": "adaptive"}, 120)
    run(method, links, 120)
    assert float(method._share.min()) > 0.6


@pytest.mark.slow
def test_clusters_and_mixtures_find_groups_with_other_labels() -> None:
    """Two groups of agents, one of which has its labels permuted: one shared model serves none."""
    own = problems((60,) * 6)
    turned = [one.relabelled((one.training_set[1] + number % 2) % 3) for number, one in enumerate(own)]

    def right(kind: type[Method], **setting: float) -> float:
        links = CommonRounds(LockstepNetwork(make_graph(6)))
        group = Crowd(turned)
        found = run(kind(group, links, {"step": 0.1, "momentum": 0.9, **setting}, 150), links, 150).before
        if found.shares is None:
            return float(group.training_losses(found.models).mean())
        best = found.shares.argmax(1)
        return float(group.training_losses(found.models[torch.arange(6), best][:, None]).mean())

    shared = right(PushSumSGP)
    assert right(Clustered, models=2) < 0.7 * shared
    assert right(FedEM, models=2) < 0.7 * shared


def test_a_half_that_is_held_keeps_its_velocity() -> None:
    descent = Descent(1, 2, {"step": 1.0, "momentum": 0.5}, torch.device("cpu"))
    one, first = torch.tensor([0]), torch.tensor([True, False])
    assert descent.step(one, torch.ones(1, 2), first).tolist() == [[-1.0, 0.0]]
    assert descent.step(one, torch.ones(1, 2), ~first).tolist() == [[0.0, -1.0]]
    assert descent.step(one, torch.ones(1, 2), first).tolist() == [[-1.5, 0.0]]


def test_a_cluster_moves_by_the_mean_step_of_its_members() -> None:
    """However few they are; and the heads of FedPer are not among what is sent."""
    links = perfect()
    method = Clustered(crowd(), links, {"step": 0.1, "momentum": 0.0, "models": 2}, 10)
    everybody = torch.arange(3)
    method._losses = torch.tensor([[0.0, 9e9], [9e9, 0.0], [9e9, 0.0]])
    for _ in range(80):
        method.turn(everybody)
        method.average(everybody)
    parts = method._shared.estimates[:, -2:]
    assert torch.allclose(parts, torch.tensor([1 / 3, 2 / 3]).expand(3, 2), atol=1e-3)
    before = method._by_model(method._shared.estimates)[0]
    method.turn(everybody)
    steps = method._local[torch.arange(3), torch.tensor([0, 1, 1])] - before[torch.tensor([0, 1, 1])]
    method.average(everybody)
    after = method._by_model(method._shared.estimates)[0]
    assert torch.allclose(after[0] - before[0], steps[0], rtol=1e-2, atol=1e-6)
    assert torch.allclose(after[1] - before[1], steps[1:].mean(0), rtol=1e-2, atol=1e-6)


def test_heads_are_not_sent() -> None:
    own, links = crowd(), perfect()
    run(PersonalHead(own, links, {**STEP, "training": "together"}, 4), links, 4)
    body = own.size - int(last_layer(own).sum())
    assert links.bytes == links.messages * (HEADER_BYTES + 8 * (body + 1))


def test_weights_of_the_last_layer_leave_the_average_where_it_hurts() -> None:
    own = problems((40, 40, 40))
    twisted = [one.relabelled((one.training_set[1] + shift) % 3) for shift, one in enumerate(own)]
    links = perfect()
    method = FedALA(Crowd(twisted), links, {**STEP, "local_steps": 5}, 120)
    run(method, links, 120)
    assert float(method._weights.mean()) < 0.9


def test_in_common_rounds_nobody_wins_by_having_more_links() -> None:
    """As in stochastic gradient push, changes count alike: agents of uneven degrees meet in the middle."""
    rates = torch.eye(4)
    rates[0] = rates[:, 0] = 1.0
    graph = Graph(((1, 2, 3), (0,), (0,), (0,)), rates)
    shared = SharedModel(
        Crowd(problems((9, 9, 9, 9))), CommonRounds(LockstepNetwork(graph, symmetric=True)), torch.zeros(1)
    )
    goals, everybody = torch.tensor([[8.0], [0.0], [0.0], [0.0]]), torch.arange(4)
    for _ in range(3000):
        now = shared.of(everybody)
        shared.replace(everybody, now + 0.003 * (goals - now))
        shared.average(everybody)
    assert float(shared.estimates.mean()) == pytest.approx(2.0, abs=0.1)


@pytest.mark.slow
def test_fast_agents_do_not_win() -> None:
    """Each moves the shared number towards its own: they meet in the middle, whatever their speeds."""
    speeds = (0.25, 1.0, 4.0)
    links = SilentLinks(make_graph(3), drop=0.3, mean_delay_ticks=1.0, speeds=speeds)
    shared = SharedModel(Crowd(problems()), links, torch.zeros(1))
    goals = torch.tensor([[0.0], [1.0], [5.0]])
    seen = []
    for number in range(3000):
        rows = links.acting()
        now = shared.of(rows)
        shared.replace(rows, now + 0.01 * (goals[rows] - now))
        shared.average(rows)
        if number >= 1000:
            seen.append(shared.estimates.mean())
    assert float(torch.stack(seen).mean()) == pytest.approx(2.0, abs=0.5)  # by turns alone: 4
