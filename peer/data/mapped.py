"""A data set that does not fit into memory: read once into files, whose tensors are mapped from there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from peer.data.datasets import count_of, fill, sample_of
from peer.data.inputs import each, tensors_of
from peer.errors import ProblemError

if TYPE_CHECKING:
    from torch import Tensor

    from peer.data.datasets import Columns
    from peer.data.inputs import Samples

WHOLE: Final = "samples.json"  # written last: what the files hold


def mapped(dataset: Any, folder: str | Path, *, columns: Columns | None = None, seed: int = 0) -> Samples:
    """Samples whose tensors lie in files of this folder, of which memory holds what is used just now.

    They are like any pair of tensors, for any set of `peer.ModuleProblem`. The data set (any with
    `__getitem__` and `__len__`; `columns` and `seed` as there) is read into the folder the first time, sample
    by sample; afterwards the files are used as they are: delete the folder when the data have changed.
    Nothing that is done to the tensors changes the files. Raises `ProblemError` for samples of different
    shapes, and if the folder holds others than the first of these is like.
    """
    place = Path(folder)
    count = count_of(dataset, "dataset")
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        first = sample_of(dataset[0], "dataset[0]", columns)
        wanted = _told(first, count, seed)
        try:
            found = json.loads((place / WHOLE).read_text("utf-8"))
        except (OSError, ValueError):
            found = None
            place.mkdir(parents=True, exist_ok=True)
            fill(_opened(first, count, place, shared=True), dataset, "dataset", columns)
            (place / WHOLE).write_text(json.dumps(wanted), "utf-8")
    if found is not None and found != wanted:
        raise ProblemError(f"{place} holds {found}, not {wanted}; delete it, or give another folder")
    return _opened(first, count, place, shared=False)


def _told(first: Samples, count: int, seed: int) -> dict[str, Any]:
    tensors = {**tensors_of(first[0]), "target": first[1]}
    told = {name: [str(tensor.dtype), *tensor.shape] for name, tensor in tensors.items()}
    return {"samples": count, "seed": seed, **told}


def _opened(first: Samples, count: int, place: Path, *, shared: bool) -> Samples:
    """Tensors over the files; `shared`: the files are made, and changed with them."""
    numbers = iter(range(len(tensors_of(first[0])) + 1))

    def one(tensor: Tensor) -> Tensor:
        path, shape = place / f"{next(numbers)}.bin", (count, *tensor.shape)
        size = count * tensor.numel()
        return torch.from_file(str(path), shared=shared, size=size, dtype=tensor.dtype).view(shape)

    return each(first[0], one), one(first[1])
