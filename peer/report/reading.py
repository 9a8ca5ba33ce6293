"""The files of a run directory, as much of them as a report needs. An edge: it opens files.

A run of a week has gigabytes of metrics: of more than LINES_BYTES_MAX pieces are read, spread evenly.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.report.run import Lines, make_run
from peer.report.values import mapping, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from peer.report.run import Run

OBJECT_BYTES_MAX: Final = 64 * 2**20  # of config.json and of result.json; those of 256 agents take one
LINES_BYTES_MAX: Final = 64 * 2**20  # of one file of lines: hours of a large swarm, seconds to read
PIECES: Final = 256
PIECE_BYTES: Final = LINES_BYTES_MAX // PIECES
LINE_BYTES_MAX: Final = 2**20  # of one line; longer ones are of somebody else
RUNS_MAX: Final = 8  # beside each other: more colours are not told apart

OWN: Final = "give what --out of swarm, run or simulate was given"


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """All of them, with names that differ. Raises `SettingError`."""
    if len(folders) > RUNS_MAX:
        remedy = f"give at most {RUNS_MAX}: more lines in one picture are not told apart"
        raise SettingError("RUN_DIR", len(folders), remedy)
    names = distinct_names([folder.resolve().parts for folder in folders])
    return [read_run(folder, name) for folder, name in zip(folders, names, strict=True)]


def read_run(folder: Path, name: str) -> Run:
    """The run in this folder. Raises `SettingError` if there is none that could be told of."""
    if not folder.is_dir():
        raise SettingError("RUN_DIR", str(folder), f"it is no folder; {OWN}")
    remarks: list[str] = []
    config = mapping(_object(folder / "config.json", remarks))
    if not config:
        raise SettingError(
            "RUN_DIR", str(folder), f"{remarks[0] if remarks else 'config.json is empty'}; {OWN}"
        )
    result = _object(folder / "result.json", remarks) if (folder / "result.json").exists() else None
    lines = Lines(
        *(
            _lines(folder / f"{name}.jsonl", remarks)
            for name in ("metrics", "events", "links", "hyperparameters")
        )
    )
    return make_run(name, config, result, lines, [f"{remark}." for remark in remarks])


def distinct_names(paths: Sequence[tuple[str, ...]]) -> list[str]:
    """The last part of each path, or as many of its last parts as it takes to tell it from the others."""
    names = ["/".join(path[-1:]) for path in paths]
    for parts in range(2, max(map(len, paths)) + 1):
        twice = {name for name in names if names.count(name) > 1}
        names = [
            "/".join(path[-parts:]) if name in twice else name
            for name, path in zip(names, paths, strict=True)
        ]
    return [
        f"{name} ({names[:index].count(name) + 1})" if name in names[:index] else name
        for index, name in enumerate(names)
    ]


def _object(path: Path, remarks: list[str]) -> object:
    """The object in a file of JSON; None with a remark if there is none."""
    problem, found = "", None
    try:
        if not path.is_file():
            problem = "is missing"
        else:
            with path.open("rb") as file:
                content = file.read(OBJECT_BYTES_MAX + 1)
            if len(content) > OBJECT_BYTES_MAX:
                problem = f"is larger than {OBJECT_BYTES_MAX:,} bytes"
            else:
                found = mapping(parsed(content.decode(errors="replace")))
                problem = "" if found else "is damaged: there is no object of JSON in it"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
    if problem:
        remarks.append(f"{path.name} {problem}")
    return found or None


def _lines(path: Path, remarks: list[str]) -> Iterator[str]:
    """Its lines, of a long file some of them; a file that is not there has none."""
    try:
        if not path.is_file():
            remarks.append(f"{path.name} is missing: this page lacks what would be in it")
            return iter(())
        size = path.stat().st_size
        file = path.open("rb")
    except OSError as error:
        remarks.append(f"{path.name} cannot be read: {error.strerror or error}")
        return iter(())
    if size <= LINES_BYTES_MAX:
        return _decoded(file, _whole(file))
    remarks.append(f"{path.name} has {size:,} bytes; {LINES_BYTES_MAX:,} of them were read, evenly spread")
    return _decoded(file, _pieces(file, size))


def _decoded(file: IO[bytes], lines: Iterator[bytes]) -> Iterator[str]:
    with file:
        for line in lines:
            if line.strip():
                yield line.decode(errors="replace")


def _whole(file: IO[bytes], end: int | None = None) -> Iterator[bytes]:
    """Lines that begin from here on, before `end`; of endless ones the beginning."""
    while end is None or file.tell() < end:
        line = file.readline(LINE_BYTES_MAX)
        if not line:
            return
        yield line
        while len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):  # the rest of a line that is none
            line = file.readline(LINE_BYTES_MAX)


def _pieces(file: IO[bytes], size: int) -> Iterator[bytes]:
    """Whole lines of pieces of the file, the first and the last bytes among them."""
    for piece in range(PIECES):
        start = piece * (size - PIECE_BYTES) // (PIECES - 1)
        file.seek(start)
        if start:
            file.readline(LINE_BYTES_MAX)  # its beginning is before this piece
        yield from _whole(file, start + PIECE_BYTES)
