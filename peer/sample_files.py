"""Samples to predict, from the bytes of a file that somebody has: what they are is seen, not told. Pure.

.npy    an array (n, ...)
.npz    the same, as one of several arrays
JSON    {"inputs": [[...], ...]}, or the list alone
CSV     a line of numbers for each sample; a first line of names may stand before, and then columns called
        `label` and `split` are left out
"""

from __future__ import annotations

import csv
import io
import json
import math
import zipfile
from typing import TYPE_CHECKING, Any, Final, NoReturn

import numpy as np

from peer.admin_input import JSON_TYPE, NPY_TYPE
from peer.data.npy import read_npy
from peer.data.tables import LABEL, SPLIT
from peer.errors import SettingError
from peer.predicting import BODY_BYTES_MAX, JSON_BYTES_MAX

if TYPE_CHECKING:
    from numpy.typing import NDArray

FILE_BYTES_MAX: Final = 2**28  # an .npz file may have more than the array that is asked for
ARRAYS_TOLD_MAX: Final = 20  # in an error
NPY_MAGIC, ZIP_MAGIC = b"\x93NUMPY", b"PK"


def read_samples(data: bytes, file: str, array: str | None = None) -> tuple[bytes, str]:
    """What to send to an agent, and its media type; `array` is the one of an .npz file.

    Raises `SettingError` for the option `file` or `array`.
    """
    if array is not None and not data.startswith(ZIP_MAGIC):
        raise SettingError("array", array, "only an .npz file has several: leave it out")
    if data.startswith(NPY_MAGIC):
        return _checked(_array(data, file), file)
    if data.startswith(ZIP_MAGIC):
        return _checked(_array(_member(data, file, array), file), file)
    text = _text(data, file)
    if text.lstrip()[:1] in ("[", "{"):
        return _from_json(text, file)
    return _checked(_from_csv(text, file), file)


def npy_bytes(array: NDArray[Any]) -> bytes:
    """As numpy.save writes it."""
    written = io.BytesIO()
    np.save(written, array, allow_pickle=False)
    return written.getvalue()


def _checked(array: NDArray[Any], file: str) -> tuple[bytes, str]:
    found = npy_bytes(array)
    if len(found) > BODY_BYTES_MAX:
        _refuse(file, f"its samples have {len(found)} bytes; give at most {BODY_BYTES_MAX} at once")
    return found, NPY_TYPE


def _array(data: bytes, file: str) -> NDArray[Any]:
    try:
        return read_npy(data)
    except ValueError as error:
        _refuse(file, f"it {error}")


def _member(data: bytes, file: str, array: str | None) -> bytes:
    """The .npy file of this name in an .npz file, or the only one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
            name = _chosen(list(entries), file, array)
            with archive.open(entries[name]) as stored:
                found = stored.read(BODY_BYTES_MAX + 1)
    except SettingError:
        raise
    except Exception as error:  # zipfile raises many kinds for damaged files: whatever it is, it is the file
        _refuse(file, f"it cannot be read as .npz: {' '.join(str(error).split())}; save it with numpy.savez")
    if len(found) > BODY_BYTES_MAX:
        _refuse(file, f"its array {name} has more than {BODY_BYTES_MAX} bytes; give fewer samples at once")
    return found


def _chosen(names: list[str], file: str, array: str | None) -> str:
    known = ", ".join(names[:ARRAYS_TOLD_MAX])
    if array is None and len(names) != 1:
        _refuse(file, f"it has {len(names)} arrays, {known}; say which: --array NAME")
    if array is not None and array not in names:
        raise SettingError("array", array, f"{file} has {known}")
    return names[0] if array is None else array


def _text(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(file, f"it is no .npy or .npz, and byte {error.start} is no text in UTF-8; give one of these")


def _from_json(text: str, file: str) -> tuple[bytes, str]:
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(file, f"it is no JSON: {error}; give a list of samples, or an object with `inputs`")
    found = json.dumps({"inputs": content} if isinstance(content, list) else content).encode()
    if len(found) > JSON_BYTES_MAX:
        told = f"it has {len(found)} bytes of JSON; give at most {JSON_BYTES_MAX}"
        _refuse(file, f"{told}, or .npy, which may have {BODY_BYTES_MAX}")
    return found, JSON_TYPE


def _from_csv(text: str, file: str) -> NDArray[np.float64]:
    lines = _lines(text, file)
    if not lines:
        _refuse(file, "it is empty; give a line of numbers for each sample")
    first = lines[0][1]
    kept = list(range(len(first)))
    if any(_number(word) is None for word in first):
        kept = [place for place, name in enumerate(first) if name not in (LABEL, SPLIT)]
        lines = lines[1:]
    if not lines or not kept:
        _refuse(file, "it has no samples; give a line of numbers for each")
    rows = []
    for number, words in lines:
        if len(words) != len(first):
            told = f"line {number} has {len(words)} values, the first {len(first)}"
            _refuse(file, f"{told}; give as many")
        rows.append([_finite(words[place], number, file) for place in kept])
    return np.array(rows)


def _lines(text: str, file: str) -> list[tuple[int, list[str]]]:
    """Number and values of every line that is not empty, blanks around values removed."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        return [(reader.line_num, [word.strip() for word in row]) for row in reader if row]
    except csv.Error as error:
        _refuse(file, f"line {reader.line_num} is no CSV: {error}; separate values by commas")


def _finite(word: str, line: int, file: str) -> float:
    found = _number(word)
    if found is None or not math.isfinite(found):
        _refuse(file, f"line {line} has {word[:40]!r}; give finite numbers")
    return found


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _refuse(file: str, remedy: str) -> NoReturn:
    raise SettingError("file", file, remedy)
