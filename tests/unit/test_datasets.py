"""Data sets and loaders as people have them: read as tensors, learned from, or refused with a remedy."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import peer
from peer.data.datasets import read
from peer.data.inputs import tensors_of
from peer.data_position import Batches
from peer.errors import HyperpushError, ProblemError, SettingError
from peer.influence.harms import harms
from peer.kept import sampled
from peer.predicting import personal_model
from peer.problem_details import RefusalError
from peer.rivals.crowd import Crowd
from peer.torch_learner import TorchLearner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INPUTS = torch.arange(24.0).reshape(12, 2)
TARGETS = torch.arange(12) % 3


class Each(Dataset[Any]):
    """Samples one by one, as most data sets have them."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(zip(INPUTS, TARGETS, strict=True))


class Two(nn.Module):
    """A module of two inputs, as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        nn.init.zeros_(self.layer.weight)

    def forward(self, words: Tensor, mask: Tensor) -> Tensor:
        outputs: Tensor = self.layer(words * mask[:, None])
        return outputs


PAIRS = Each(list(zip(INPUTS, TARGETS, strict=True)))
NAMED = Each([{"image": x, "label": y} for x, y in zip(INPUTS, TARGETS, strict=True)])
BARE = Each([(x.tolist(), int(y)) for x, y in zip(INPUTS, TARGETS, strict=True)])
ARRAYS = Each([(x.numpy(), y.numpy()[()]) for x, y in zip(INPUTS, TARGETS, strict=True)])


@pytest.mark.parametrize(
    "given",
    [
        *((INPUTS, TARGETS), [INPUTS, TARGETS], (INPUTS.numpy(), TARGETS.numpy())),
        *(TensorDataset(INPUTS, TARGETS), PAIRS, NAMED, BARE, ARRAYS, PAIRS.items),
        {"image": INPUTS, "label": TARGETS.numpy()},
        Subset(TensorDataset(INPUTS, TARGETS), range(12)),
        Subset(Subset(TensorDataset(INPUTS.flip(0), TARGETS.flip(0)), range(12)), range(11, -1, -1)),
        Subset(Subset(PAIRS, list(range(12))), range(12)),
        *(DataLoader(PAIRS, 4), DataLoader(PAIRS, 4, shuffle=True)),
        DataLoader(PAIRS, 4, sampler=SubsetRandomSampler(range(12))),
        DataLoader(
            PAIRS, 5, collate_fn=lambda items: [torch.stack([x for x, _ in items]), TARGETS[: len(items)]]
        ),
    ],
)
def test_whatever_holds_samples_becomes_the_same_tensors(given: Any) -> None:
    inputs, targets = read(given).samples
    assert isinstance(inputs, Tensor)
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(targets, TARGETS)
    assert targets.dtype is torch.int64


def test_columns_say_which_are_inputs_and_which_the_target() -> None:
    items = [{"words": x, "mask": x > 3, "rating": float(y)} for x, y in zip(INPUTS, TARGETS, strict=True)]
    both, ratings = read(Each(items), columns=(("words", "mask"), "rating")).samples
    assert list(tensors_of(both)) == ["inputs['words']", "inputs['mask']"]
    assert ratings.dtype is torch.float32
    words, _ = read(Each(items), columns=("words", "rating")).samples
    assert isinstance(words, Tensor)
    several, _ = read(TensorDataset(INPUTS, INPUTS + 1, TARGETS)).samples
    assert list(tensors_of(several)) == ["inputs[0]", "inputs[1]"]


def test_a_npz_file_is_a_dictionary_of_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=INPUTS.numpy(), y=TARGETS.numpy())
    with np.load(tmp_path / "samples.npz") as file:
        inputs, targets = read(file).samples
    assert isinstance(inputs, Tensor)
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(targets, TARGETS)


def test_a_loader_brings_its_batch_size_and_our_order_goes_on_from_a_checkpoint() -> None:
    def problem(**more: Any) -> peer.ModuleProblem:
        loaders = DataLoader(PAIRS, 4, shuffle=True), DataLoader(PAIRS, 3)
        return peer.ModuleProblem(nn.Linear(2, 3), *loaders, **more)

    batches = Batches(problem().batches())
    seen = [next(batches) for _ in range(5)]
    assert {len(batch.targets) for batch in seen} == {4}
    assert sorted(torch.cat([batch.indices for batch in seen[:3]]).tolist()) == list(range(12))
    snapshot, following = batches.snapshot(), next(batches)
    again = Batches(problem().batches())
    again.restore(snapshot)
    assert torch.equal(next(again).indices, following.indices)
    assert len(next(problem().outer_batches()).targets) == 3
    assert len(next(problem().relabelled(TARGETS).outer_batches()).targets) == 3
    assert len(next(problem(batch_size=5).outer_batches()).targets) == 5
    assert len(next(peer.ModuleProblem(nn.Linear(2, 3), PAIRS, PAIRS).batches()).targets) == 12


def test_what_samples_draw_is_drawn_once_and_by_the_seed() -> None:
    class Noisy(Each):
        def __getitem__(self, index: int) -> Any:
            inputs, target = self.items[index]
            return inputs + torch.randn(2), target

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    noisy = Noisy(PAIRS.items)
    one, again, other = (read(noisy, seed=seed).samples[0] for seed in (1, 1, 2))
    assert isinstance(one, Tensor)
    assert isinstance(again, Tensor)
    assert isinstance(other, Tensor)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


class Text(Each):
    def __init__(self) -> None:
        super().__init__([({"a": 1}, 0)])

    __len__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Stream(), "train is Stream, an IterableDataset, whose samples have no index"),
        (DataLoader(Stream(), 2), "train is Stream, an IterableDataset"),
        (DataLoader(PAIRS, None), r"batch sampler of its own \(none\); give the data set itself"),
        (
            DataLoader(PAIRS, batch_sampler=BatchSampler(SequentialSampler(PAIRS), 4, drop_last=False)),
            r"batch sampler of its own \(BatchSampler\)",
        ),
        (
            DataLoader(PAIRS, 2, sampler=WeightedRandomSampler([1.0] * 12, 12)),
            "WeightedRandomSampler, decides",
        ),
        (DataLoader(PAIRS, 2, sampler=RandomSampler(PAIRS, replacement=True)), "RandomSampler, decides"),
        (DataLoader(PAIRS, 2, sampler=RandomSampler(PAIRS, num_samples=6)), "RandomSampler, decides"),
        (3, "train is int; give a pair of tensors"),
        ("file.csv", "train is str; give a pair"),
        (Text(), "Text, which has no length"),
        (Each([]), "train has no samples"),
        (Each([INPUTS[0]]), r"train\[0\] is Tensor; give \(inputs, target\)"),
        (TensorDataset(INPUTS), "train has one tensor and no targets"),
        (Each([("good", 1)]), r"train\[0\]: inputs is str; make numbers of text first"),
        (Each([(["good"], 1)]), "is a list that is no tensor"),
        (Each([(object(), 1)]), "inputs is object; give a tensor"),
        (Each([({"a": 1}, "x")]), "target is str"),
        (Each([({"a": 1.0}, 0), ({"b": 1.0}, 0)]), r"train\[1\] has inputs\['b'\], target; train\[0\]"),
        (Each([([1.0], 0), ([1.0, 2.0], 0)]), r"train\[1\]: inputs has shape \(2,\) .* that pads them"),
        (Each([(1, 0), (0.5, 0)]), r"has shape \(\) and torch.float32, train\[0\] has \(\) and torch.int64"),
        (Each([{"a": 1, "b": 2}]), "has the columns a, b; say which are which"),
        (Each([{"label": 1}]), "has the columns label; say"),
        (Each([{"a": 1, "y": 2, "label": 2}]), "has the columns a, y, label; say"),
        ({"train": PAIRS, "test": PAIRS}, r"train\['train'\] is Each; give one of its parts \(train, test\)"),
        ({"x": INPUTS, "y": TARGETS[:3]}, "train has 12 inputs and 3 targets"),
        ((INPUTS[:0], TARGETS[:0]), "train has 0 inputs and 0 targets"),
        (((), TARGETS), "train has 0 inputs and 12 targets"),
        (((INPUTS, INPUTS[:3]), TARGETS), r"12 inputs\[0\], 3 inputs\[1\] and 12 targets"),
        ((INPUTS.double(), TARGETS), r"does not accept train inputs \(inputs \(2, 2\) float64\)"),
        (({"bad": INPUTS}, TARGETS), r"does not accept train inputs \(inputs\['bad'\] .*unexpected keyword"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_remedy(given: Any, told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        peer.ModuleProblem(nn.Linear(2, 3), given, (INPUTS, TARGETS))


@pytest.mark.parametrize(
    ("given", "columns", "told"),
    [
        (PAIRS, ("image", "label"), "columns is .* is tuple and has none; leave columns out"),
        (NAMED, ("image", "class"), "columns: .* has no 'class'; it has image, label"),
        (NAMED, (("image", "mask"), "label"), "has no 'mask'"),
    ],
)
def test_columns_that_are_not_there_are_told(given: Any, columns: Any, told: str) -> None:
    with pytest.raises(ProblemError, match=told):
        read(given, columns=columns)


def test_pictures_that_are_no_tensors_yet_want_a_transform() -> None:
    images = pytest.importorskip("PIL.Image")
    with pytest.raises(ProblemError, match=r"PIL\.Image; give the data set a transform"):
        read(Each([(images.new("L", (2, 2)), 1)]))


def test_more_than_memory_is_to_hold_is_refused_before_it_is_read() -> None:
    read_rows: list[int] = []

    class Large(Each):
        def __getitem__(self, index: int) -> Any:
            read_rows.append(index)
            return super().__getitem__(index)

    large = Large(PAIRS.items * 100)
    with pytest.raises(ProblemError, match=r"takes 19,200 bytes as tensors, 1,200 samples, more than 10,000"):
        read(large, bytes_max=10_000)
    assert read_rows == [0]
    with pytest.raises(ProblemError, match=r'peer\.mapped\(samples, "folder"\)'):
        read(DataLoader(large, 2, collate_fn=torch.utils.data.default_collate), bytes_max=10_000)
    padded = DataLoader(
        large, 2, collate_fn=lambda items: (INPUTS[:1].expand(len(items), 2), torch.zeros(len(items)))
    )
    with pytest.raises(ProblemError, match="takes 14,400 bytes"):
        read(padded, bytes_max=10_000)


def test_a_collate_function_pads_all_samples_alike() -> None:
    ragged = Each([(list(range(1, 2 + row % 3)), row % 2) for row in range(9)])

    def pad(items: list[Any]) -> tuple[dict[str, Tensor], Tensor]:
        width = max(len(words) for words, _ in items)
        words = torch.tensor([words + [0] * (width - len(words)) for words, _ in items])
        return {"words": words, "mask": words > 0}, torch.tensor([target for _, target in items])

    source = read(DataLoader(ragged, 2, collate_fn=pad))
    assert {name: tuple(tensor.shape) for name, tensor in tensors_of(source.samples[0]).items()} == {
        "inputs['words']": (9, 3),
        "inputs['mask']": (9, 3),
    }
    assert source.batch_size == 2


@pytest.mark.parametrize("kind", [tuple, lambda pair: dict(zip(("words", "mask"), pair, strict=True))])
def test_several_inputs_are_the_arguments_of_the_module(kind: Any) -> None:
    """Reference: the same problem with both in one tensor."""
    mask = (TARGETS > 0).float()
    both = kind((INPUTS / 10, mask))
    problem = peer.ModuleProblem(Two(), (both, TARGETS), (both, TARGETS), (both, TARGETS), batch_size=5)

    class Apart(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.two = Two()

        def forward(self, packed: Tensor) -> Tensor:
            outputs: Tensor = self.two(packed[:, :2], packed[:, 2])
            return outputs

    packed = torch.cat([INPUTS / 10, mask[:, None]], dim=1), TARGETS
    reference = peer.ModuleProblem(Apart(), packed, packed, packed, batch_size=5)
    found, wanted = (TorchLearner[Any](one) for one in (problem, reference))
    point = found.initial_model + 0.1
    for _ in range(4):
        mine, theirs = (one.evaluate(point, point, 0.0) for one in (found, wanted))
        assert torch.equal(mine.model_gradient, theirs.model_gradient)
        assert torch.equal(mine.adjoint_gradient, theirs.adjoint_gradient)
    assert problem.metrics(problem.model, {}) == reference.metrics(reference.model, {})
    names = dict(zip(reference.model, problem.model.values(), strict=True))
    ours, others = (
        harms(one, model, model, {}, {}, {}) for one, model in ((problem, problem.model), (reference, names))
    )
    assert torch.equal(ours, others)
    together, apart = next(problem.all_batches()), next(reference.all_batches())
    assert torch.equal(together.targets, apart.targets)
    module = problem.personal_module(problem.model, {})
    assert torch.equal(module(both), problem.predict(problem.model, {}, both))


def test_who_needs_inputs_in_one_tensor_says_so() -> None:
    both = (INPUTS, TARGETS.float())
    problem = peer.ModuleProblem(Two(), (both, TARGETS), (both, TARGETS))
    with pytest.raises(RefusalError, match=r"a prediction takes .* here they are inputs\[0\], inputs\[1\]"):
        personal_model(problem, problem.model, {}, {}, peer="a", tick=0, epoch=0)
    crowd = Crowd([problem, problem])
    with pytest.raises(ProblemError, match="this comparison takes inputs that are one tensor"):
        crowd.batches(torch.tensor([0, 1]))
    assert sampled("task", problem) is problem


# ---- in files


def test_what_is_mapped_from_files_is_read_once_and_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    inputs, targets = peer.mapped(PAIRS, folder)
    assert isinstance(inputs, Tensor)
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(targets, TARGETS)
    inputs[0] = 99.0  # in memory only
    changed = Each([(x + 1, y) for x, y in PAIRS.items])
    again, _ = peer.mapped(changed, folder)
    assert isinstance(again, Tensor)
    assert torch.equal(again, INPUTS)
    with pytest.raises(ProblemError, match="delete it, or give another folder"):
        peer.mapped(Each(PAIRS.items[:5]), folder)
    several, _ = peer.mapped(NAMED, tmp_path / "more", columns=(("image",), "label"))
    assert list(tensors_of(several)) == ["inputs['image']"]
    problem = peer.ModuleProblem(nn.Linear(2, 3), (inputs, targets), (inputs, targets), batch_size=4)
    assert len(next(problem.batches()).targets) == 4


def test_files_that_were_not_finished_are_written_again(tmp_path: Path) -> None:
    broken = Each([*PAIRS.items[:6], (torch.zeros(3), 0)])
    with pytest.raises(ProblemError, match=r"dataset\[6\]: inputs has shape \(3,\)"):
        peer.mapped(broken, tmp_path)
    inputs, _ = peer.mapped(PAIRS, tmp_path)
    assert isinstance(inputs, Tensor)
    assert torch.equal(inputs, INPUTS)


# ---- split


@pytest.mark.parametrize(
    "given",
    [
        (INPUTS, TARGETS),
        ({"a": INPUTS, "b": INPUTS}, TARGETS),
        {"x": INPUTS, "y": TARGETS},
        PAIRS,
        TensorDataset(INPUTS, TARGETS),
    ],
)
def test_parts_of_a_set_are_disjoint_complete_and_the_same_for_a_seed(given: Any) -> None:
    def rows(part: Any) -> list[float]:
        inputs = next(iter(tensors_of(read(part).samples[0]).values()))
        return inputs[:, 0].tolist()

    parts = [rows(part) for part in peer.split(given, 3)]
    assert [len(part) for part in parts] == [7, 2, 3]
    assert sorted(row for part in parts for row in part) == INPUTS[:, 0].tolist()
    assert parts == [rows(part) for part in peer.split(given, 3)]
    assert parts != [rows(part) for part in peer.split(given, 4)]
    shared = [peer.split(given, 3, shard=shard, agents=2) for shard in range(2)]
    assert sorted(row for one in shared for part in one for row in rows(part)) == INPUTS[:, 0].tolist()
    assert [len(rows(part)) for part in peer.split(given, train=0.25, validation=0.25)] == [3, 3, 6]


@pytest.mark.parametrize(
    ("given", "more", "told"),
    [
        (DataLoader(PAIRS, 2), {}, "samples: 'DataLoader' is not possible; give a data set"),
        (Stream(), {}, "samples: 'Stream'"),
        (PAIRS, {"train": 0.8}, "train: .* give shares above 0 that leave some to test on"),
        (PAIRS, {"validation": 0.0}, "train: "),
        (PAIRS, {"shard": 2, "agents": 2}, "shard: 2 is not possible"),
        (PAIRS, {"agents": 4}, "of 12 samples for 4 agents a set would be empty"),
        ({"x": INPUTS, "y": TARGETS[:3]}, {}, r"samples: \[3, 12\] is not possible; give as many"),
    ],
)
def test_what_cannot_be_split_is_refused(given: Any, more: Any, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        peer.split(given, **more)


# ---- Hugging Face


def test_a_folder_of_hugging_face_is_learned_from(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rule = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    inputs = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    rows = {"words": inputs.tolist(), "text": ["?"] * 60, "label": (inputs @ rule).argmax(1).tolist()}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "kept")

    data = datasets.load_from_disk(tmp_path / "kept").with_format("torch")
    train, validation, test = peer.split(data, seed=0)
    module = nn.Linear(2, 2)
    nn.init.zeros_(module.weight)
    nn.init.zeros_(module.bias)
    problem = peer.ModuleProblem(module, train, validation, test, columns=("words", "label"))
    assert torch.equal(read(data, columns=("words", "label")).samples[1], torch.tensor(rows["label"]))
    with pytest.raises(HyperpushError, match=r"inputs\['text'\] is str; make numbers of text first"):
        peer.ModuleProblem(module, train, validation)
    found = peer.simulate([problem, problem], ticks=60).agents[0]
    assert problem.metrics(found.model, {})["shared"] >= 0.9


def test_a_child_process_reads_the_same_order() -> None:
    program = (
        "import torch, peer\n"
        "data = list(zip(torch.arange(20.0)[:, None], torch.arange(20) % 2))\n"
        "train, validation, test = peer.split(data, 7)\n"
        "problem = peer.ModuleProblem(torch.nn.Linear(1, 2), train, validation, batch_size=4, seed=3)\n"
        "batches = problem.batches()\n"
        "print([next(batches).inputs[:, 0].tolist() for _ in range(6)])\n"
    )
    one, other = (
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout
        for _ in range(2)
    )
    assert one == other


def test_the_default_shares_read_as_people_write_them() -> None:
    """`help(peer.split)` showed 0.6000000000000001."""
    assert "train: 'float' = 0.6, validation: 'float' = 0.2" in str(inspect.signature(peer.split))
