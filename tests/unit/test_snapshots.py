"""What an agent has learned, as a value: who goes on from it does what the first one would have done."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from peer.checkpoint_schedule import CheckpointSchedule
from peer.data_position import Batches, ShuffledBatches
from peer.events import Checkpoint, Compute
from peer.hyper_rate import HyperRate
from peer.hyper_watch import HyperWatch
from peer.module_problem import ModuleProblem
from peer.personalization import OutputBias
from peer.plain_trees import from_snapshot, to_snapshot
from peer.progress import Progress
from peer.snapshot import Snapshot, SnapshotError
from peer.tensor_algebra import TensorAlgebra
from peer.tensors import pack, unpack
from peer.torch_learner import TorchLearner
from peer.tuning.curvature import LargestCurvature
from peer.tuning.tuner import Tuner
from tests.unit.driving import settings, start
from tests.unit.test_learning import Toy, samples, small_module

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    MakeProblem = Callable[[], Any]


def problem(*, batch_size: int = 4) -> ModuleProblem:
    return ModuleProblem(
        small_module(),
        train=samples(11),
        validation=samples(9, seed=1),
        loss=torch.nn.functional.cross_entropy,
        personalization=OutputBias(),
        batch_size=batch_size,
    )


def adam(parameters: list[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters)


def through_a_file(snapshot: Snapshot[Tensor]) -> Snapshot[Tensor]:
    return Snapshot(unpack(pack(snapshot.arrays)), json.loads(json.dumps(snapshot.values)))


def live(learner: TorchLearner[Any], ticks: int) -> list[object]:
    """All that a few ticks give."""
    seen: list[object] = []
    model = learner.initial_model.to(torch.float64)
    for tick in range(ticks):
        found = learner.evaluate(model + tick, model * 0 + 0.5, 0.1)
        report = learner.finish_tick(0.05)
        seen += [found.model_gradient.tolist(), found.adjoint_gradient.tolist(), report]
        seen += [tensor.tolist() for tensor in (*learner.hyperparameters.values(), *learner.local.values())]
    return seen


@pytest.mark.parametrize("optimizer", [None, adam], ids=["descent", "adam"])
@pytest.mark.parametrize("make", [problem, lambda: Toy(local=True), Toy], ids=["batches", "local", "plain"])
def test_who_goes_on_does_what_the_first_one_would_have_done(make: MakeProblem, optimizer: Any) -> None:
    """To the last bit: hyperparameters, optimizer, local variables, watch, data."""
    first = TorchLearner(make(), optimizer)
    live(first, 30)
    snapshot = first.snapshot()
    kept = through_a_file(snapshot)
    expected = live(first, 12)
    assert through_a_file(snapshot).values == kept.values, "a snapshot does not change"
    second = TorchLearner(make(), optimizer)
    second.restore(kept)
    assert live(second, 12) == expected


def test_what_does_not_fit_is_refused_by_name() -> None:
    kept = TorchLearner(problem()).snapshot()
    with pytest.raises(SnapshotError, match=r"hyperparameters was \{'bias.*, here it is \{'h'"):
        TorchLearner(Toy()).restore(kept)
    with pytest.raises(SnapshotError, match="has an optimizer, the other has none"):
        TorchLearner(problem(), adam).restore(kept)
    with pytest.raises(SnapshotError, match="the batches are of another kind than those of the checkpoint"):
        Batches(itertools.count()).restore(kept.part("batches"))
    other = ShuffledBatches(samples(7), 4, seed=0)
    with pytest.raises(SnapshotError, match="there were 11 samples, now there are 7"):
        Batches(other).restore(kept.part("batches"))
    broken = kept.part("batches")
    with pytest.raises(SnapshotError, match="the batches cannot go on from the checkpoint"):
        Batches(other).restore(Snapshot({"0": torch.zeros(3)}, broken.values))


def test_batches_that_do_not_know_where_they_are_are_drawn_again() -> None:
    first = Batches(itertools.count())
    assert [next(first) for _ in range(5)] == [0, 1, 2, 3, 4]
    second = Batches(itertools.count())
    second.restore(first.snapshot())
    assert next(iter(second)) == 5


@pytest.mark.parametrize("drawn", range(9))
def test_shuffled_batches_go_on_in_the_same_order(drawn: int) -> None:
    first = Batches(iter(ShuffledBatches(samples(11), 4, seed=0)))
    for _ in range(drawn):
        next(first)
    second = Batches(iter(ShuffledBatches(samples(11), 4, seed=5)))
    second.restore(through_a_file(first.snapshot()))
    for _ in range(5):
        assert torch.equal(next(first)[0], next(second)[0])


def test_nested_states_come_back_as_they_were() -> None:
    state = {0: {"step": torch.tensor(3.0), "on": True}, "list": [1, 2.5, None, "x", (torch.ones(2, 2),)]}
    found = from_snapshot(through_a_file(to_snapshot(state)))
    assert found[0]["step"] == torch.tensor(3.0)
    assert found[0]["on"] is True
    assert found["list"][:4] == [1, 2.5, None, "x"]
    assert torch.equal(found["list"][4][0], torch.ones(2, 2))
    with pytest.raises(SnapshotError, match="a checkpoint cannot hold set"):
        to_snapshot({"a": {1, 2}})
    for values in ({}, {"state": {"tensor": "7"}}, {"state": {"other": 1}}, {"state": {"pairs": [1]}}):
        with pytest.raises(SnapshotError, match="a nested state is not as it was written"):
            from_snapshot(Snapshot({}, values))  # type: ignore[arg-type]


def test_a_state_of_another_release_is_refused_or_made_do_with() -> None:
    """It was a traceback at the start of the agent."""
    algebra = TensorAlgebra()
    for owner in (HyperRate(), HyperWatch(), LargestCurvature(algebra)):
        before, state = dict(vars(owner)), owner.state_dict()
        for wrong in ({**state, "_more": 1}, None, [1]):
            with pytest.raises(
                SnapshotError, match=f"{type(owner).__name__} has .*: it is of another release"
            ):
                owner.load_state_dict(wrong)  # type: ignore[arg-type]
            assert vars(owner) == before
    curvature = LargestCurvature(algebra)
    curvature.load_state_dict({"value": 2.0})
    assert (curvature.value, curvature.probes) == (2.0, 0), "an older release had no more"


def test_parts_have_names_of_their_own() -> None:
    inner: Snapshot[Tensor] = Snapshot({"x": torch.ones(3)}, {"n": 1})
    whole = Snapshot({"y": torch.zeros(1)}).within("a", inner).within("ab", Snapshot({}, {"n": 2}))
    assert sorted(whole.arrays) == ["a.x", "y"]
    assert torch.equal(whole.part("a").array("x", 3), torch.ones(3))
    assert whole.part("ab").values == {"n": 2}
    assert whole.part("missing") == Snapshot({}, {})
    with pytest.raises(SnapshotError, match="n is 1 instead of a table"):
        whole.part("a").part("n")
    with pytest.raises(SnapshotError, match="x should have 2 elements, but there is one of 3"):
        whole.part("a").array("x", 2)
    with pytest.raises(SnapshotError, match="z should have 2 elements, but there is none"):
        whole.array("z", 2)


def test_the_rate_of_the_hyperparameters_is_kept() -> None:
    first, second = Progress(), Progress()
    first.hyper_schedule.factor = 0.25
    second.restore(first.snapshot())
    assert second.hyper_schedule.factor == 0.25
    for wrong in (None, 0.0, 2.0, "1"):
        with pytest.raises(SnapshotError, match="instead of a share of the rate"):
            second.restore(Snapshot({}, {"hyper_rate": wrong}))


def test_what_noise_has_done_to_steps_is_kept() -> None:
    first, second = (Tuner(settings(model_step_size=None), TensorAlgebra()) for _ in range(2))
    first._wandering.factor = 0.25
    second.restore(first.snapshot())
    assert second._wandering.factor == 0.25
    second.restore(Snapshot({}, {}))
    assert second._wandering.factor == 1.0, "older releases kept nothing"
    for wrong in (None, 0.0, 2.0, "1"):
        with pytest.raises(SnapshotError, match=r"noise_factor is .* instead of a number"):
            second.restore(Snapshot({}, {"noise_factor": wrong}))


def test_checkpoints_come_by_time_and_by_ticks_whichever_is_first() -> None:
    schedule = CheckpointSchedule(settings(checkpoint_s=10.0, checkpoint_ticks=4), 0.0)
    due = [tick for tick, now in enumerate((0, 1, 2, 12, 13, 14, 15, 16, 26)) if schedule.is_due(tick, now)]
    assert due == [3, 7, 8]
    assert schedule.is_used
    never = CheckpointSchedule(settings(checkpoint_s=0.0), 0.0)
    assert not never.is_used
    assert not never.is_due(10**6, 1e9)


def test_an_agent_keeps_what_it_has_learned_and_another_goes_on_from_it() -> None:
    driver = start(checkpoint_s=0.0, checkpoint_ticks=3)
    driver.see("a")
    driver.tick(7)
    assert len(driver.kept) == 2
    driver.agent.leave(driver.now)
    driver.perform()
    assert len(driver.kept) == 3, "the last words"
    assert driver.kept[-1].values["ticks"] == 7
    later = start(checkpoint_s=0.0, checkpoint_ticks=3)
    later.agent.restore(driver.kept[-1])
    model = driver.agent.solver.model.estimate
    assert list(later.agent.solver.model.estimate) == list(model)
    later.tick(3)
    assert later.kept[-1].values["ticks"] == 10, "over all lives"
    with pytest.raises(SnapshotError, match="model should have 2 elements, but there is none"):
        start().agent.restore(Snapshot({}))


def test_who_leaves_while_it_computes_keeps_nothing() -> None:
    driver = start(checkpoint_s=0.0, checkpoint_ticks=1)
    agent = driver.agent
    agent.handle_timer(agent.next_deadline() or 0.0)
    assert [effect for effect in agent.take_effects() if isinstance(effect, Compute)]
    agent.leave(4.0)
    assert not [effect for effect in agent.take_effects() if isinstance(effect, Checkpoint)]
