"""Data sets of PyTorch and Hugging Face as tensors: read once, whole, in the order of their indices.

What agents need of data, an order that can be reproduced and goes on from a checkpoint, samples that are
told apart by their index, losses of all of them, is there for tensors at once. So a data set is read into
tensors when the problem is made; what is too large for memory is put into files (`peer.mapped`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
)

from peer.data.inputs import Inputs, Samples, each, rows_of, tensors_of
from peer.errors import ProblemError

BYTES_MAX: Final = 2**30  # of one set, in memory
CHUNK: Final = 256  # samples that are asked for at once
TARGETS: Final = ("label", "labels", "target", "targets", "y")  # columns that need not be named

Columns = tuple[str | Sequence[str], str]


class Indexed(Protocol):
    """What else has samples by their index, such as a data set of Hugging Face."""

    def __getitem__(self, index: Any, /) -> Any: ...
    def __len__(self) -> int: ...


Data = Samples | Mapping[str, Any] | Dataset[Any] | DataLoader[Any] | Indexed


class Source(NamedTuple):
    """A set of samples as somebody gave it, looked at."""

    samples: Samples
    batch_size: int | None = None  # of a DataLoader


def read(
    given: object,
    name: str = "samples",
    *,
    columns: Columns | None = None,
    seed: int = 0,
    bytes_max: int = BYTES_MAX,
) -> Source:
    """The samples of any of these, as tensors; `name` is what errors call it.

    * a pair of tensors or arrays: inputs (n, ...) and targets (n, ...); several inputs as a tuple or a dict
    * a dictionary of columns, such as `numpy.load("samples.npz")`
    * a data set with `__getitem__` and `__len__`: one of `torch.utils.data`, one of Hugging Face `datasets`,
      a list. A sample is (inputs, target), (input, input, ..., target), or a dictionary
    * a `DataLoader`: its data set, batch size and `collate_fn`, which is given all samples at once. The order
      is ours: reproducible, and the same after a checkpoint

    `columns` says which of a dictionary are inputs and which is the target: `("image", "label")`, or
    `(("input_ids", "attention_mask"), "label")`; without it the target is the one that is called so.
    Whatever samples draw from torch's global random stream is drawn here, once, from a stream of `seed`; the
    stream itself is left alone. Raises `ProblemError` for what is none of these, has samples of different
    shapes, or takes more than `bytes_max`.
    """
    if isinstance(given, tuple | list) and len(given) == 2 and _is_column(given[1]):
        return Source((_inputs(given[0], f"{name}[0]"), _tensor(given[1], f"{name}[1]")))
    if isinstance(given, Mapping):
        return Source(_columns_of(given, name, columns))
    if isinstance(given, IterableDataset):
        raise _endless(name, given)
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if not isinstance(given, DataLoader):
            return Source(_read_each(given, name, columns, bytes_max))
        dataset = _dataset_of(given, name)
        if given.collate_fn is default_collate:
            return Source(_read_each(dataset, name, columns, bytes_max), given.batch_size)
        samples = _read_together(dataset, name, columns, given.collate_fn, bytes_max)
        return Source(samples, given.batch_size)


# ---- what is given


def _columns_of(given: Mapping[str, Any], name: str, columns: Columns | None) -> Samples:
    for key in given:
        if not _is_column(given[key]):
            kinds = ", ".join(map(str, given))
            remedy = f"give one of its parts ({kinds}), or columns of tensors or arrays"
            raise ProblemError(f"{name}[{key!r}] is {type(given[key]).__name__}; {remedy}")
    inputs, targets = _parted(given, name, columns)
    return _inputs(inputs, name), _tensor(targets, f"{name}[target]")


def _is_column(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _endless(name: str, dataset: object) -> ProblemError:
    return ProblemError(
        f"{name} is {type(dataset).__name__}, an IterableDataset, whose samples have no index: no order "
        "of them can be reproduced; give a list of them, such as list(itertools.islice(dataset, 10_000))"
    )


def _dataset_of(loader: DataLoader[Any], name: str) -> Any:
    """What it reads. Raises `ProblemError` for samples that are drawn otherwise than we would."""
    dataset, sampler = loader.dataset, loader.sampler
    if isinstance(dataset, IterableDataset):
        raise _endless(name, dataset)
    remedy = "give the data set itself, or a torch.utils.data.Subset of it, and batch_size"
    if loader.batch_size is None:
        kind = type(loader.batch_sampler).__name__ if loader.batch_sampler is not None else "none"
        raise ProblemError(f"{name} is a DataLoader with a batch sampler of its own ({kind}); {remedy}")
    if isinstance(sampler, SubsetRandomSampler):
        return Subset(dataset, [int(index) for index in sampler.indices])
    count = len(dataset)  # type: ignore[arg-type]  # torch's type of a data set has no length; loaders ask for it
    if isinstance(sampler, SequentialSampler):
        return dataset
    if isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == count:
        return dataset
    told = f"{name} is a DataLoader whose sampler, {type(sampler).__name__}, decides what is drawn"
    raise ProblemError(f"{told}; agents draw every sample once before any comes again: {remedy}")


# ---- reading


def _read_each(dataset: Any, name: str, columns: Columns | None, bytes_max: int) -> Samples:
    """Sample by sample, into tensors that are there from the start."""
    at_hand = _tensors_at_hand(dataset, name)
    if at_hand is not None:
        return at_hand
    count = count_of(dataset, name)
    first = sample_of(dataset[0], f"{name}[0]", columns)
    needed = count * sum(tensor.nbytes for tensor in (*tensors_of(first[0]).values(), first[1]))
    _check_size(needed, count, name, bytes_max)

    def room(tensor: Tensor) -> Tensor:
        return torch.empty((count, *tensor.shape), dtype=tensor.dtype, device=tensor.device)

    found: Samples = (each(first[0], room), room(first[1]))
    fill(found, dataset, name, columns)
    return found


def fill(room: Samples, dataset: Any, name: str, columns: Columns | None) -> None:
    """Write every sample to its row. Raises `ProblemError` for one that is not as the room is."""
    places = {**tensors_of(room[0]), "target": room[1]}
    for row, item in enumerate(items_of(dataset)):
        where = f"{name}[{row}]"
        inputs, target = sample_of(item, where, columns)
        tensors = {**tensors_of(inputs), "target": target}
        if tensors.keys() != places.keys():
            told = f"{where} has {', '.join(tensors)}; {name}[0] {', '.join(places)}"
            raise ProblemError(f"{told}; give all samples the same")
        for key, tensor in tensors.items():
            place = places[key]
            if tensor.shape != place.shape[1:] or tensor.dtype != place.dtype:
                told = f"{where}: {key} has shape {tuple(tensor.shape)} and {tensor.dtype}, {name}[0] has "
                told += f"{tuple(place.shape[1:])} and {place.dtype}"
                remedy = "bring them to one, or give a DataLoader with a collate_fn that pads them"
                raise ProblemError(f"{told}; {remedy}")
            place[row] = tensor


def _read_together(dataset: Any, name: str, columns: Columns | None, collate: Any, bytes_max: int) -> Samples:
    """All samples at once through somebody's own function, so that all are padded alike."""
    count = count_of(dataset, name)
    few = min(count, CHUNK)
    tried, targets = sample_of(collate([dataset[row] for row in range(few)]), name, columns)
    bytes_ = sum(tensor.nbytes for tensor in (*tensors_of(tried).values(), targets))
    _check_size(bytes_ * count // few, count, name, bytes_max)
    return sample_of(collate(list(items_of(dataset))), name, columns)


def _tensors_at_hand(dataset: Any, name: str) -> Samples | None:
    """Those of a TensorDataset or of some of its rows; they are not copied unless they have to be."""
    rows = None
    while type(dataset) is Subset:
        chosen = torch.as_tensor([int(index) for index in dataset.indices], dtype=torch.int64)
        rows = chosen if rows is None else chosen[rows]
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    if len(dataset.tensors) < 2:
        raise ProblemError(f"{name} has one tensor and no targets; give TensorDataset(inputs, targets)")
    *inputs, targets = dataset.tensors
    samples: Samples = (inputs[0] if len(inputs) == 1 else tuple(inputs), targets)
    return samples if rows is None else rows_of(samples, rows)


def items_of(dataset: Any) -> Iterator[Any]:
    """All samples, many at a time where it can: the protocol of torch's own loaders."""
    count = len(dataset)
    for start in range(0, count, CHUNK):
        rows = list(range(start, min(start + CHUNK, count)))
        many = getattr(dataset, "__getitems__", None)
        yield from (dataset[row] for row in rows) if many is None else many(rows)


def count_of(dataset: Any, name: str) -> int:
    """How many samples. Raises `ProblemError` for none, and for what is no data set."""
    kind = type(dataset).__name__
    if isinstance(dataset, str | bytes) or not hasattr(dataset, "__getitem__"):
        remedy = "give a pair of tensors, or a Dataset or DataLoader of torch.utils.data"
        raise ProblemError(f"{name} is {kind}; {remedy}")
    try:
        count = len(dataset)
    except TypeError:
        raise ProblemError(f"{name} is {kind}, which has no length; give it a __len__") from None
    if count == 0:
        raise ProblemError(f"{name} has no samples; give one or more")
    return count


def _check_size(needed: int, count: int, name: str, bytes_max: int) -> None:
    if needed > bytes_max:
        told = f"{name} takes {needed:,} bytes as tensors, {count:,} samples, more than {bytes_max:,}"
        remedy = f'give fewer samples, or peer.mapped({name}, "folder"), which puts them into files once'
        raise ProblemError(f"{told}; {remedy}")


# ---- one sample


def sample_of(item: Any, where: str, columns: Columns | None) -> Samples:
    """Inputs and target of one sample, or of many that are together, as tensors. Raises `ProblemError`."""
    inputs, target = _parted(item, where, columns)
    return _inputs(inputs, where), _tensor(target, f"{where}: target")


def _parted(item: Any, where: str, columns: Columns | None) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        return _named(item, where, columns)
    if columns is not None:
        told = f"columns is {columns}, but {where} is {type(item).__name__}"
        raise ProblemError(f"{told} and has none; leave columns out")
    if not isinstance(item, tuple | list) or len(item) < 2:
        raise ProblemError(
            f"{where} is {type(item).__name__}; give (inputs, target), or a dictionary of both"
        )
    return (item[0] if len(item) == 2 else tuple(item[:-1])), item[-1]


def _named(item: Mapping[str, Any], where: str, columns: Columns | None) -> tuple[Any, Any]:
    names = ", ".join(map(str, item))
    if columns is None:
        called = [name for name in TARGETS if name in item]
        others = [name for name in item if name not in called]
        if len(called) != 1 or not others:
            remedy = 'say which are which: columns=("image", "label"), or (("words", "mask"), "label")'
            raise ProblemError(f"{where} has the columns {names}; {remedy}")
        inputs: str | Sequence[str] = others[0] if len(others) == 1 else others
        target = called[0]
    else:
        inputs, target = columns
    wanted = [inputs] if isinstance(inputs, str) else list(inputs)
    for name in (*wanted, target):
        if name not in item:
            raise ProblemError(f"columns: {where} has no {name!r}; it has {names}")
    if isinstance(inputs, str):
        return item[inputs], item[target]
    return {name: item[name] for name in wanted}, item[target]


def _inputs(value: Any, where: str) -> Inputs:
    if isinstance(value, Mapping):
        return {str(name): _tensor(one, f"{where}: inputs[{name!r}]") for name, one in value.items()}
    if isinstance(value, tuple):
        return tuple(_tensor(one, f"{where}: inputs[{place}]") for place, one in enumerate(value))
    return _tensor(value, f"{where}: inputs")


def _tensor(value: Any, where: str) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, bool | int | float):
        return torch.tensor(value)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        return torch.from_numpy(np.array(value, copy=None if isinstance(value, np.ndarray) else True))
    if isinstance(value, list):
        try:
            return torch.tensor(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ProblemError(f"{where} is a list that is no tensor: {error}; make one of it") from None
    kind = f"{type(value).__module__.partition('.')[0]}.{type(value).__name__}".removeprefix("builtins.")
    remedy = "give a tensor, an array or numbers"
    if isinstance(value, str):
        remedy = "make numbers of text first (a tokenizer does)"
    elif kind.startswith("PIL."):
        remedy = "give the data set a transform that makes tensors of pictures"
    raise ProblemError(f"{where} is {kind}; {remedy}")
