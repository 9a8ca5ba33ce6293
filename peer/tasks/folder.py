"""A user's own samples: a folder with one .npz or CSV file per agent, or files that are shared out anew.

Without `--partition` file I of the folder, in the order of their numbers, is agent I's, split as it says. A
machine may have its own file only: then `classes.txt` beside it says which classes there are, the same
everywhere. With `--partition` all files together are one data set, the same on every machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from peer.data.files import class_names_in, read_table, tables_in
from peer.data.labelled import LabelledData
from peer.data.partition import SAMPLES_MIN, Parts, parts_of
from peer.data.tables import parse_classes, parse_csv, parse_npz
from peer.errors import SettingError
from peer.tasks.networks import make_network
from peer.tasks.samples import SETTINGS, MadeWhenAsked, SampleTask, sample_problem, shared_task

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from peer.data.choice import DataChoice
    from peer.data.tables import Table
    from peer.module_problem import ModuleProblem
    from peer.personalization import Personalization

NAME = "folder"


class _Folder(NamedTuple):
    """What is there."""

    where: Path
    files: list[Path]
    names: tuple[str, ...] | None  # of the classes, if somebody says them


def folder_task(
    agents: int, seed: int, personal: Personalization, choice: DataChoice, shard: int
) -> SampleTask:
    """The task of these files; `shard` is the agent that is certainly here. Raises `SettingError`."""
    folder = _look(choice)
    if choice.partition is not None:
        data = pooled(folder.files, folder.names, choice)
        return shared_task(NAME, data, agents, seed, personal, choice, SETTINGS)
    if choice.samples is not None:
        remedy = "without --partition each agent has the samples of its file; leave it out"
        raise SettingError("samples", choice.samples, remedy)
    return _one_file_each(folder, agents, seed, personal, choice.model or "mlp", shard)


def read_pooled(choice: DataChoice) -> LabelledData:
    """All files as one data set. Raises `SettingError`."""
    folder = _look(choice)
    return pooled(folder.files, folder.names, choice)


def pooled(files: Sequence[Path], names: tuple[str, ...] | None, choice: DataChoice) -> LabelledData:
    """All samples of these files, in their order. Raises `SettingError`."""
    scheme = choice.partition
    column = str(scheme.parameter) if scheme is not None and scheme.split == "column" else None
    tables = [_read(path, names, column) for path in files]
    for table in tables[1:]:
        _check_alike(table, tables[0])
    labels = np.concatenate([table.labels for table in tables])
    columns = {
        name: np.concatenate([table.columns[name] for table in tables])
        for name in tables[0].columns
        if all(name in table.columns for table in tables)
    }
    inputs = np.concatenate([table.inputs for table in tables])
    return LabelledData(inputs, labels, names or _numbered(int(labels.max()) + 1, files[0]), columns)


def _look(choice: DataChoice) -> _Folder:
    if choice.data_dir is None:
        raise SettingError("task", NAME, "say where its files are: --data-dir DIR")
    files = tables_in(choice.data_dir)
    said = class_names_in(choice.data_dir)
    return _Folder(choice.data_dir, files, None if said is None else parse_classes(*said))


def _one_file_each(
    folder: _Folder, agents: int, seed: int, personal: Personalization, model: str, shard: int
) -> SampleTask:
    files, names = folder.files, folder.names
    alone = len(files) == 1 and agents > 1  # this machine has what is its own
    if len(files) != agents and not alone:
        remedy = f"there are {len(files)} files for {agents} agents; give one for each"
        raise SettingError("data_dir", str(folder.where), f"{remedy}, or share them out with --partition")
    if names is None and alone:
        remedy = (
            "one file does not say which classes others have; write them to classes.txt beside it, one a line"
        )
        raise SettingError("data_dir", str(folder.where), remedy)
    kept: dict[int, Table] = {}  # read, but not yet made a problem of
    if names is None:
        kept = dict(enumerate(_read(path, None, None) for path in files))
        names = _numbered(max(int(table.labels.max()) for table in kept.values()) + 1, files[0])
    own = kept.get(shard) or _read(files[0 if alone else shard], names, None)
    kept[shard] = own
    known = names

    def make(index: int) -> ModuleProblem:
        if alone and index != shard:
            remedy = f"it is the only file, and agent {shard + 1}'s; give one for each of {agents} agents"
            raise SettingError("data_dir", str(files[0]), remedy)
        table = kept.pop(index, None) or _read(files[index], known, None)
        _check_alike(table, own)
        data = LabelledData(table.inputs, table.labels, known)
        network = make_network(model, table.inputs.shape[1:], len(known), seed)
        return sample_problem(network, data, _parts(table, seed), personal, seed)

    make_network(model, own.inputs.shape[1:], len(names), seed)  # refused now, if it has to be
    shape = "x".join(map(str, own.inputs.shape[1:]))
    fingerprint = f"{NAME} {own.inputs.dtype} {shape} {','.join(names)}/{model}/{agents}/{seed}"
    return SampleTask(NAME, fingerprint, MadeWhenAsked(agents, make), SETTINGS, names)


def _read(path: Path, names: tuple[str, ...] | None, column: str | None) -> Table:
    data = read_table(path)
    if path.suffix == ".csv":
        return parse_csv(data, str(path), names, column)
    return parse_npz(data, str(path), names)


def _parts(table: Table, seed: int) -> Parts:
    """As the file says, else at random."""
    if table.part is not None:
        train, validation, test = (np.flatnonzero(table.part == part) for part in range(3))
        return Parts(train, validation, test)
    if len(table.labels) < SAMPLES_MIN:
        remedy = f"it has {len(table.labels)} samples; give {SAMPLES_MIN} or more, or a column `split`"
        raise SettingError("data_dir", table.file, remedy)
    return parts_of(np.random.default_rng([seed, len(table.labels)]).permutation(len(table.labels)))


def _check_alike(table: Table, first: Table) -> None:
    own, other = (f"{one.inputs.shape[1:]} {one.inputs.dtype}" for one in (table, first))
    if own != other:
        remedy = f"its samples are {own}, those of {first.file} {other}; all agents need the same features"
        raise SettingError("data_dir", table.file, remedy)


def _numbered(classes: int, file: Path) -> tuple[str, ...]:
    if classes < 2:
        raise SettingError("data_dir", str(file), "all labels are 0; give samples of two classes or more")
    return tuple(map(str, range(classes)))
