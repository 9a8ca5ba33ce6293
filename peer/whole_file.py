"""Files that are there whole or not at all. An edge: the file system."""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def check_place(path: Path, option: str = "file") -> None:
    """Raise `SettingError` for this option, before anything is worked out, if its folder is not there."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise SettingError(option, str(path), "give a file in a folder that exists")


@contextmanager
def whole_file(path: Path, option: str = "file") -> Iterator[Path]:
    """A place beside `path` to write to; what is there at the end takes its place at once, synced.

    Whatever is raised meanwhile, `path` stays as it was and nothing is left beside it. Raises `SettingError`
    for this option if its folder is not there or takes no file.
    """
    check_place(path, option)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.touch(exist_ok=False)
    except OSError as error:
        remedy = f"nothing can be written beside it ({error.strerror}): give a file in another folder"
        raise SettingError(option, str(path), remedy) from error
    try:
        yield part
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(part, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def write_whole(path: Path, content: bytes, option: str = "file") -> None:
    """Write this. Raises as `whole_file` does."""
    with whole_file(path, option) as part:
        part.write_bytes(content)
