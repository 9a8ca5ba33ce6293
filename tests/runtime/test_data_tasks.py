"""Tasks of samples: who gets which, the same everywhere, and what does not fit is refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from peer.data.choice import DataChoice
from peer.data.scheme import parse_scheme
from peer.errors import SettingError
from peer.settings import AgentSettings
from peer.tasks import Answer, make_task
from peer.tasks.networks import make_network
from tests.data_files import images_of, needs_fashion_mnist, write_npz, write_set

if TYPE_CHECKING:
    from pathlib import Path

    from peer.tasks import Task


def choice(where: Path | None = None, partition: str | None = None, **more: Any) -> DataChoice:
    return DataChoice(None if partition is None else parse_scheme(partition), where, **more)


def batches(task: Task, shard: int) -> list[torch.Tensor]:
    """The first training and validation batches, and the model, of one agent."""
    problem: Any = task.problems[shard]
    drawn = [*next(problem.batches()), *next(problem.outer_batches())]
    return [*drawn, *problem.model.values()]


def test_a_machine_with_one_shard_has_the_problem_of_the_swarm(tmp_path: Path) -> None:
    """`run --shard 3/4` makes the third problem only, and it is that of `swarm --agents 4`."""
    write_set(tmp_path)
    whole = make_task("fashion-mnist", 4, 5, "bias", choice=choice(tmp_path))
    swarm = [batches(whole, shard) for shard in range(4)]
    for shard in range(4):
        alone = make_task("fashion-mnist", 4, 5, "bias", shard=shard, choice=choice(tmp_path))
        assert alone.fingerprint == whole.fingerprint
        assert all(torch.equal(a, b) for a, b in zip(batches(alone, shard), swarm[shard], strict=True))
    assert not torch.equal(swarm[0][0][:8], swarm[1][0][:8])
    assert len(whole.problems) == len(whole.problems[:]) == 4
    assert whole.problems[-1] is whole.problems[3]


def test_agents_hold_their_own_rows_only_as_bytes(tmp_path: Path) -> None:
    write_set(tmp_path)
    task = make_task("mnist", 4, 0, "none", choice=choice(tmp_path, "iid"))
    held: Any = [
        part
        for problem in task.problems
        for part in (problem.training_set, problem.validation_set, problem.test_set)
    ]
    assert sum(len(targets) for _, targets in held) == 800
    assert all(inputs.dtype == torch.uint8 for inputs, _ in held)
    assert sum(inputs.untyped_storage().nbytes() for inputs, _ in held) == 800 * 8 * 8


def test_what_must_be_equal_everywhere_is_in_the_fingerprint(tmp_path: Path) -> None:
    write_set(tmp_path / "one")
    write_set(tmp_path / "other", counts=(601, 200))
    one = tmp_path / "one"
    made = [
        make_task("mnist", 4, 0, "none", choice=choice(one)),
        make_task("fashion-mnist", 4, 0, "none", choice=choice(one)),
        make_task("mnist", 5, 0, "none", choice=choice(one)),
        make_task("mnist", 4, 1, "none", choice=choice(one)),
        make_task("mnist", 4, 0, "none", choice=choice(tmp_path / "other")),
        make_task("mnist", 4, 0, "none", choice=choice(one, "iid")),
        make_task("mnist", 4, 0, "none", choice=choice(one, model="cnn")),
        make_task("mnist", 4, 0, "none", choice=choice(one, samples=700)),
        make_task("digits", 4, 0, "none"),
        make_task("digits", 4, 0, "none", choice=choice(None, "iid")),
    ]
    assert len({task.fingerprint for task in made}) == len(made)
    same = make_task("mnist", 4, 0, "bias", choice=choice(one, "dirichlet:0.40", model="mlp"))
    assert same.fingerprint == made[0].fingerprint
    assert made[8].fingerprint == "digits/4/0"
    assert make_task("digits", 4, 0, "none", choice=choice(None, "dirichlet:0.4")).fingerprint == "digits/4/0"


def test_groups_see_images_turned_and_labels_permuted(tmp_path: Path) -> None:
    write_set(tmp_path)
    plain, turned, renamed = (
        make_task("mnist", 4, 0, "none", choice=choice(tmp_path, how)).problems
        for how in ("iid", "rotated:4", "permuted:2")
    )
    for agent in range(4):
        one: Any = plain[agent]
        other: Any = turned[agent]
        assert torch.equal(torch.rot90(one.training_set[0], agent, (1, 2)), other.training_set[0])
        assert torch.equal(one.training_set[1], other.training_set[1])
        third: Any = renamed[agent]
        assert torch.equal(one.test_set[0], third.test_set[0])
        pairs = {(int(a), int(b)) for a, b in zip(one.test_set[1], third.test_set[1], strict=True)}
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}), "one to one"
        assert all(a == b for a, b in pairs) == (agent % 2 == 0)


def test_digits_can_be_shared_out_otherwise() -> None:
    task: Any = make_task("digits", 6, 0, "none", choice=choice(None, "shards:2"))
    for problem in task.problems:
        labels = torch.cat([problem.training_set[1], problem.validation_set[1], problem.test_set[1]])
        assert len(labels.unique()) <= 4, "a shard holds two labels at most"
    for turned, plain in zip(
        make_task("digits", 4, 0, "none", choice=choice(None, "rotated:2")).problems,
        make_task("digits", 4, 0, "none", choice=choice(None, "iid")).problems,
        strict=True,
    ):
        ours: Any = turned
        theirs: Any = plain
        same = torch.equal(ours.training_set[0], theirs.training_set[0])
        assert same != torch.equal(ours.training_set[0], theirs.training_set[0].flip(1)), (
            "upside down is read backwards"
        )


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_models_learn_images(model: str, tmp_path: Path) -> None:
    write_set(tmp_path, classes=5)
    task = make_task("mnist", 2, 0, "bias", choice=choice(tmp_path, "iid", model=model, samples=200))
    problem = task.problems[1]
    nothing: dict[str, torch.Tensor] = {}
    answer = Answer(problem.model, nothing, nothing, problem.hyperparameters, nothing)
    scores = task.scores(1, answer, AgentSettings(**task.settings), ticks=30)
    assert list(scores) == list(task.columns)
    assert scores["local"] > 0.9 > scores["shared"] + 0.3
    assert task.among([0]) is task


def test_models_are_as_large_as_they_say_and_leave_global_randomness_alone() -> None:
    state = torch.get_rng_state()
    sizes = {}
    for model in ("mlp", "cnn", "linear"):
        one, same, other = (make_network(model, (28, 28), 10, seed) for seed in (0, 0, 1))
        sizes[model] = sum(parameter.numel() for parameter in one.parameters())
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        pixels = torch.from_numpy(images_of(np.arange(3), 28))
        assert torch.equal(one(pixels), one(pixels.float() / 255)), "bytes are numbers from 0 to 1"
    assert sizes == {"mlp": 50_890, "cnn": 20_746, "linear": 7_850}
    assert torch.equal(torch.get_rng_state(), state)
    assert make_network("cnn", (3, 9, 10), 4, 0)(torch.zeros(2, 3, 9, 10)).shape == (2, 4)
    for shape in ((5,), (7, 28), (1, 2, 8, 8)):
        with pytest.raises(
            SettingError, match=r"model: 'cnn' is not possible; inputs of .* are no images of 8"
        ):
            make_network("cnn", shape, 10, 0)


def test_the_mixture_of_fedem_is_drawn_for_each_agent_by_itself() -> None:
    few, many = (make_task("fedem-synthetic", agents, 3, "bias") for agents in (2, 9))
    assert all(torch.equal(a, b) for a, b in zip(batches(few, 1), batches(many, 1), strict=True))
    assert few.fingerprint != many.fingerprint
    problem = few.problems[1]
    nothing: dict[str, torch.Tensor] = {}
    answer = Answer(problem.model, nothing, nothing, problem.hyperparameters, nothing)
    scores = few.scores(1, answer, AgentSettings(**few.settings), ticks=100)
    assert scores["local_all"] > scores["shared"] + 0.05


# ---- a folder of one's own


def lines_of_writers() -> str:
    """36 samples of three writers, and how they could be split."""
    rows = [
        f"{number % 3},{part},{'abc'[number % 9 // 3]},{number},{-number}"
        for number, part in enumerate(["train"] * 12 + ["val"] * 12 + ["test"] * 12)
    ]
    return "\n".join(["label,split,writer,a,b", *rows])


def test_a_folder_has_a_file_for_each_agent(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        write_npz(tmp_path / f"agent-{number}.npz", 20 + number)
    task: Any = make_task("folder", 3, 0, "bias", choice=choice(tmp_path))
    assert [len(problem.training_set[1]) for problem in task.problems] == [21, 22, 30]
    answer = Answer(task.problems[2].model, {}, {}, task.problems[2].hyperparameters, {})
    assert task.scores(2, answer, AgentSettings(**task.settings), ticks=60)["local"] > 0.9
    again: Any = make_task("folder", 3, 0, "bias", shard=2, choice=choice(tmp_path))
    assert again.fingerprint == task.fingerprint
    assert torch.equal(again.problems[2].test_set[0], task.problems[2].test_set[0])


def test_a_machine_may_have_its_own_file_only(tmp_path: Path) -> None:
    """With the names of the classes beside it; the other machines have the same task."""
    for number, folder in enumerate(("one", "other", "all")):
        (tmp_path / folder).mkdir()
        for name in (0, 1) if folder == "all" else (number,):
            write_npz(tmp_path / folder / f"agent-{name}.npz", 20 + name)
        (tmp_path / folder / "classes.txt").write_text("no\nyes\nmaybe\n")
    whole: Any = make_task("folder", 2, 0, "none", choice=choice(tmp_path / "all"))
    for shard, folder in enumerate(("one", "other")):
        own: Any = make_task("folder", 2, 0, "none", shard=shard, choice=choice(tmp_path / folder))
        assert own.fingerprint == whole.fingerprint
        assert all(torch.equal(a, b) for a, b in zip(batches(own, shard), batches(whole, shard), strict=True))
        with pytest.raises(
            SettingError, match=r"agent-.\.npz' .* it is the only file, and agent .'s; give one"
        ):
            own.problems[1 - shard]
    (tmp_path / "one" / "classes.txt").unlink()
    with pytest.raises(SettingError, match=r"data_dir: .*write them to classes\.txt beside it"):
        make_task("folder", 2, 0, "none", choice=choice(tmp_path / "one"))


def test_files_together_are_shared_out_by_a_column(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text(lines_of_writers())
    task: Any = make_task("folder", 3, 0, "none", choice=choice(tmp_path / "all.csv", "column:writer"))
    for problem in task.problems:
        inputs = torch.cat([problem.training_set[0], problem.validation_set[0], problem.test_set[0]])
        assert len({int(number) % 9 // 3 for number in inputs[:, 0]}) == 1, "one writer each"
        assert inputs.shape == (12, 2), "the writer is no input"
    write_npz(tmp_path / "b.npz", pen_train=np.arange(40), pen_val=np.arange(40), pen_test=np.arange(40))
    (tmp_path / "all.csv").unlink()
    pens: Any = make_task("folder", 4, 0, "none", choice=choice(tmp_path, "column:pen"))
    assert (
        sum(
            len(part[1])
            for one in pens.problems
            for part in (one.training_set, one.validation_set, one.test_set)
        )
        == 120
    )
    write_npz(tmp_path / "a.npz")
    for agents in (3, 5):
        found: Any = make_task("folder", agents, 0, "none", choice=choice(tmp_path, "iid", samples=60))
        assert [len(problem.training_set[1]) for problem in found.problems] == [
            round(0.6 * 60 / agents)
        ] * agents
    with pytest.raises(SettingError, match="no column is called 'pen'; these data have none"):
        make_task("folder", 2, 0, "none", choice=choice(tmp_path, "column:pen"))


def test_a_csv_file_without_split_is_split_by_the_seed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("label,a\n" + "".join(f"{row % 2},{row}\n" for row in range(20)))
    first, same, other = (
        next(iter(make_task("folder", 1, seed, "none", choice=choice(tmp_path)).problems))
        for seed in (0, 0, 1)
    )
    one: Any = first
    again: Any = same
    third: Any = other
    assert [len(part[1]) for part in (one.training_set, one.validation_set, one.test_set)] == [12, 4, 4]
    assert torch.equal(one.training_set[0], again.training_set[0])
    assert not torch.equal(one.training_set[0], third.training_set[0])
    assert sorted(
        torch.cat([one.training_set[0], one.validation_set[0], one.test_set[0]]).flatten().tolist()
    ) == list(range(20))


@pytest.mark.parametrize(
    ("task", "given", "told"),
    [
        (
            "synthetic",
            {"partition": "iid"},
            "partition: 'iid' is not possible; task synthetic has no such choice",
        ),
        ("fedem-synthetic", {"samples": 5}, "samples: '5' is not possible; task fedem-synthetic has no such"),
        (
            "digits",
            {"model": "cnn"},
            "model: 'cnn' is not possible; task digits has no such choice, it has partition",
        ),
        ("folder", {}, "task: 'folder' is not possible; say where its files are: --data-dir DIR"),
        (
            "folder",
            {"where": "two", "samples": 5},
            "samples: 5 is not possible; without --partition each agent has",
        ),
        ("folder", {"where": "two"}, r"there are 2 files for 3 agents; give one for each, or share them out"),
        (
            "folder",
            {"where": "unlike"},
            r"3\.npz' is not possible; its samples are \(2,\) float32, those of .*1\.npz",
        ),
        ("folder", {"where": "unlike", "partition": "iid"}, r"3\.npz' .* all agents need the same features"),
        (
            "folder",
            {"where": "zeros", "partition": "iid"},
            r"a\.npz' is not possible; all labels are 0; give samples",
        ),
        ("folder", {"where": "two", "partition": "rotated:2"}, "inputs of 3 are no square images"),
        ("folder", {"where": "two", "partition": "iid", "model": "cnn"}, "model: 'cnn' .* give mlp"),
        (
            "folder",
            {"where": "few"},
            r"a\.csv' is not possible; it has 2 samples; give 10 or more, or a column `split`",
        ),
        (
            "mnist",
            {"where": "mnist", "samples": 900},
            "samples: 900 is not possible; there are 800; give as many or",
        ),
        (
            "mnist",
            {"where": "mnist", "partition": "column:pen"},
            "no column is called 'pen'; these data have none",
        ),
    ],
)
def test_what_does_not_fit_is_refused(task: str, given: dict[str, Any], told: str, tmp_path: Path) -> None:
    for folder in ("two", "unlike", "zeros", "few"):
        (tmp_path / folder).mkdir()
    for name in ("1", "2"):
        write_npz(tmp_path / "two" / f"{name}.npz")
        write_npz(tmp_path / "unlike" / f"{name}.npz")
    write_npz(
        tmp_path / "unlike" / "3.npz", **{f"x_{part}": np.zeros((40, 2)) for part in ("train", "val", "test")}
    )
    write_npz(
        tmp_path / "zeros" / "a.npz", **{f"y_{part}": np.zeros(40, int) for part in ("train", "val", "test")}
    )
    (tmp_path / "few" / "a.csv").write_text("label,a\n0,1\n1,2\n")
    write_set(tmp_path / "mnist")
    where = given.pop("where", None)
    agents = 1 if where == "few" else 3
    with pytest.raises(SettingError, match=told):
        list(make_task(task, agents, 0, "none", choice=choice(where and tmp_path / where, **given)).problems)


def test_a_task_of_python_has_its_own_data(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"samples: '3' is not possible; task .*task\.py has no such choice"
    ):
        make_task(tmp_path / "task.py", 2, 0, "none", choice=choice(samples=3))


@needs_fashion_mnist
def test_fashion_mnist_is_shared_out_among_twenty() -> None:
    task: Any = make_task("fashion-mnist", 20, 0, "bias")
    assert task.fingerprint == "fashion-mnist a810c59d68bbd99d/dirichlet:0.4/mlp/20/0"
    one = task.problems[2]
    sizes = [len(part[1]) for part in (one.training_set, one.validation_set, one.test_set)]
    assert sizes == [3482, 1161, 1160]
    assert sum(tensor.numel() for tensor in one.model.values()) == 50_890
