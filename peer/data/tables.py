"""A user's own data: from the bytes of one .npz or CSV file to rows, labels and columns.

    .npz    arrays x_train, y_train, x_val, y_val, x_test, y_test: x (n, ...) numbers, y (n,) labels.
            NAME_train, NAME_val, NAME_test for any other NAME: a column, for `--partition column:NAME`
    .csv    a line of names first. `label`; `split`, which says train, val or test (without it the rows are
            split at random, 60/20/20); all other columns are inputs, but the one that `column:NAME` names

Labels are whole numbers from 0 up, or words if the names of the classes are known. Nothing is ever unpickled.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from peer.data.npy import read_npy
from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

FILE_BYTES_MAX: Final = 2**31  # of a file, and of what a compressed one holds
CSV_BYTES_MAX: Final = 2**28  # lines of text take about ten times as much while they are read
CLASSES_MAX: Final = 10_000
FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
ARRAYS_MAX: Final = 100
PARTS: Final = ("train", "val", "test")
PART_WORDS: Final = {"train": 0, "val": 1, "validation": 1, "valid": 1, "test": 2}
LABEL, SPLIT = "label", "split"


@dataclass(frozen=True, slots=True)
class Table:
    """What one file holds. `part`: 0 to train on, 1 to validate with, 2 to test on; None: it does not say."""

    file: str
    inputs: NDArray[Any]  # (n, ...) uint8, or finite float32
    labels: NDArray[np.int64]
    part: NDArray[np.int64] | None
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


def parse_classes(data: bytes, file: str) -> tuple[str, ...]:
    """The names of the classes, one a line. Raises `SettingError`."""
    names = tuple(line.strip() for line in _text(data, file).splitlines() if line.strip())
    if len(set(names)) != len(names) or not 2 <= len(names) <= CLASSES_MAX:
        _refuse(file, f"it has {len(names)} names; give 2 to {CLASSES_MAX} different ones, one a line")
    return names


# ---- .npz


def parse_npz(data: bytes, file: str, names: Sequence[str] | None = None) -> Table:
    """The arrays of an .npz file; `names` of the classes, if they are known. Raises `SettingError`."""
    arrays = _arrays(data, file)
    missing = [f"{kind}_{part}" for part in PARTS for kind in "xy" if f"{kind}_{part}" not in arrays]
    if missing:
        there = ", ".join(arrays) or "none"
        _refuse(
            file, f"it lacks the arrays {', '.join(missing)} (it has {there}); save them with numpy.savez"
        )
    inputs: list[NDArray[Any]] = []
    labels: list[NDArray[np.int64]] = []
    for part in PARTS:
        x, y = _inputs(arrays[f"x_{part}"], file, f"x_{part}"), arrays[f"y_{part}"]
        if y.ndim != 1 or len(x) != len(y) or len(y) == 0:
            told = f"x_{part} has shape {x.shape}, y_{part} {y.shape}"
            _refuse(file, f"{told}; give (n, ...) and (n,) with one n above 0")
        if inputs and (inputs[0].shape[1:] != x.shape[1:] or inputs[0].dtype != x.dtype):
            told = f"x_{part} has shape {x.shape}, {x.dtype}; x_train {inputs[0].shape}, {inputs[0].dtype}"
            _refuse(file, f"{told}; all need the same features")
        inputs.append(x)
        labels.append(_labels(y, file, f"y_{part}", names))
    sizes = [len(part) for part in labels]
    columns = {}
    for name in dict.fromkeys(key.rpartition("_")[0] for key in arrays):
        pieces = [arrays.get(f"{name}_{part}") for part in PARTS]
        if name not in ("x", "y", "") and all(piece is not None for piece in pieces):
            found = [piece for piece in pieces if piece is not None]
            if [piece.shape for piece in found] != [(size,) for size in sizes]:
                _refuse(file, f"{name}_train, _val and _test need one value for each label of theirs")
            columns[name] = np.concatenate([piece.astype(np.str_) for piece in found])
    of_part = np.repeat(np.arange(3), sizes)
    return Table(file, np.concatenate(inputs), np.concatenate(labels), of_part, columns)


def _arrays(data: bytes, file: str) -> dict[str, NDArray[Any]]:
    """All arrays, none of which is larger than what the file has for it."""
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > ARRAYS_MAX or sum(entry.file_size for entry in entries) > FILE_BYTES_MAX:
                told = f"more than {ARRAYS_MAX} arrays or {FILE_BYTES_MAX} bytes"
                _refuse(file, f"it holds {told}; give less, or read the data in a task of your own")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                with archive.open(entry) as stored:
                    found[name] = _array(stored.read(), file, name)
    except SettingError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged files: whatever it is, it is the file
        _refuse(file, f"it cannot be read as .npz: {' '.join(str(error).split())}; save it with numpy.savez")
    return found


def _array(data: bytes, file: str, name: str) -> NDArray[Any]:
    try:
        return read_npy(data)
    except ValueError as error:
        _refuse(file, f"{name} {error}")


def _inputs(given: NDArray[Any], file: str, name: str) -> NDArray[Any]:
    if given.ndim < 2 or 0 in given.shape[1:]:
        _refuse(
            file, f"{name} has shape {given.shape}; give (samples, features) or (samples, ..., rows, columns)"
        )
    if given.dtype == np.uint8:
        return given
    if given.dtype.kind not in "fiub":
        _refuse(file, f"{name} is of {given.dtype}; give numbers")
    with np.errstate(over="ignore"):
        found = given.astype(np.float32)
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))[0])
        _refuse(file, f"{name}[{row}] has values that are no finite float32; repair or leave out that sample")
    return found


def _labels(given: NDArray[Any], file: str, name: str, names: Sequence[str] | None) -> NDArray[np.int64]:
    if given.dtype.kind == "U":
        return np.array([_label(str(word), f"{name}[{row}]", file, names) for row, word in enumerate(given)])
    if given.dtype.kind not in "iub":
        _refuse(file, f"{name} is of {given.dtype}; give whole numbers from 0 up")
    most = CLASSES_MAX if names is None else len(names)
    wrong = np.flatnonzero((given < 0) | (given >= most))
    if len(wrong):
        told = f"{name}[{int(wrong[0])}] is {int(given[wrong[0]])}"
        _refuse(file, f"{told}; give labels from 0 to {most - 1}")
    return given.astype(np.int64)


# ---- .csv


def parse_csv(data: bytes, file: str, names: Sequence[str] | None = None, column: str | None = None) -> Table:
    """The rows of a CSV file; `column` is no input. Raises `SettingError` naming line and column."""
    lines = _lines(_text(data, file), file)
    header = next(lines, (0, []))[1]
    if len(set(header)) != len(header) or LABEL not in header:
        told = ", ".join(header[:20])
        _refuse(
            file,
            f"its first line is {told!r}; begin with the columns' names, each once, `{LABEL}` among them",
        )
    if column is not None and column not in header:
        _refuse(file, f"it has no column {column!r}; there are {', '.join(header[:20])}")
    features = [place for place, name in enumerate(header) if name not in (LABEL, SPLIT, column)]
    if not features:
        _refuse(file, "all its columns are labels and splits; give columns of numbers to learn from")
    inputs: list[NDArray[np.float32]] = []
    labels: list[int] = []
    splits: list[int] = []
    words: list[str] = []
    for number, row in lines:
        if len(row) != len(header):
            _refuse(file, f"line {number} has {len(row)} values, the first line {len(header)}; give as many")
        inputs.append(_numbers(row, features, header, number, file))
        labels.append(_label(row[header.index(LABEL)], f"line {number}, column {LABEL!r}", file, names))
        if SPLIT in header:
            splits.append(_split(row[header.index(SPLIT)], number, file))
        if column is not None:
            words.append(row[header.index(column)])
    if not labels:
        _refuse(file, "it has no samples; give a line for each")
    part = np.array(splits) if SPLIT in header else None
    if part is not None and len(set(splits)) < len(PARTS):
        lacking = [name for place, name in enumerate(PARTS) if place not in splits]
        _refuse(
            file, f"column {SPLIT!r} never says {', '.join(lacking)}; say it of some samples, or leave it out"
        )
    columns = {} if column is None else {column: np.array(words, dtype=np.str_)}
    return Table(file, np.stack(inputs), np.array(labels, dtype=np.int64), part, columns)


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(file, f"byte {error.start} is no text in UTF-8; save it as UTF-8")


def _lines(text: str, file: str) -> Iterator[tuple[int, list[str]]]:
    """Number and values of every line that is not empty, blanks around values removed."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, [value.strip() for value in row]
    except csv.Error as error:
        _refuse(file, f"line {reader.line_num} is no CSV: {error}; separate values by commas")


def _numbers(
    row: list[str], features: list[int], header: list[str], number: int, file: str
) -> NDArray[np.float32]:
    """The inputs of one line."""
    found: list[float] = []
    for place in features:
        value = _number(row[place])
        if not abs(value) <= FLOAT32_MAX:
            told = f"line {number}, column {header[place]!r} has {row[place]!r}"
            _refuse(file, f"{told}; give finite numbers, or leave the column out")
        found.append(value)
    return np.array(found, dtype=np.float32)


def _number(word: str) -> float:
    """NaN for what is none."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def _split(word: str, number: int, file: str) -> int:
    if word not in PART_WORDS:
        _refuse(file, f"line {number}, column {SPLIT!r} has {word!r}; give train, val or test")
    return PART_WORDS[word]


def _label(word: str, place: str, file: str, names: Sequence[str] | None) -> int:
    if names is not None and word in names:
        return names.index(word)
    most = CLASSES_MAX if names is None else len(names)
    if not (word.isascii() and word.isdigit() and len(word) < 10 and int(word) < most):
        remedy = f"give whole numbers from 0 to {most - 1} or "
        remedy += "names, listed in classes.txt, one a line" if names is None else "names of classes.txt"
        _refuse(file, f"{place} has {word!r}; {remedy}")
    return int(word)


def _refuse(file: str, remedy: str) -> NoReturn:
    raise SettingError("data_dir", file, remedy)
