"""A user's own files: .npz and CSV, right and wrong."""

from __future__ import annotations

import contextlib
import io
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from peer.data.tables import parse_classes, parse_csv, parse_npz
from peer.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Callable


def arrays(**more: Any) -> dict[str, Any]:
    """A whole set of three, one and two samples."""
    found: dict[str, Any] = {}
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        found[f"x_{part}"] = np.arange(count * 2, dtype=np.float64).reshape(count, 2)
        found[f"y_{part}"] = np.arange(count)
    return {name: value for name, value in {**found, **more}.items() if value is not None}


def npz(**more: Any) -> bytes:
    written = io.BytesIO()
    np.savez(written, **arrays(**more))
    return written.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    """With one member in the place of x_train."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(f"{name}.npy", content)
    return written.getvalue()


def npy(header: str, data: bytes = b"", version: int = 1) -> bytes:
    return b"\x93NUMPY" + bytes([version, 0]) + len(header).to_bytes(2, "little") + header.encode() + data


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(SettingError) as error:
        call()
    assert error.value.field == "data_dir"
    assert error.value.value == "/d/a"
    return error.value.remedy


def test_six_arrays_are_read() -> None:
    table = parse_npz(npz(), "f")
    assert table.inputs.dtype == np.float32
    assert table.inputs[:3].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert table.labels.tolist() == [0, 1, 2, 0, 0, 1]
    assert table.part is not None
    assert table.part.tolist() == [0, 0, 0, 1, 2, 2]
    assert table.columns == {}


def test_pixels_stay_bytes_and_columns_are_words() -> None:
    pixels = {
        f"x_{part}": np.zeros((n, 2, 2), np.uint8) for part, n in (("train", 3), ("val", 1), ("test", 2))
    }
    writers = {
        "writer_train": [7, 8, 7],
        "writer_val": [9],
        "writer_test": [7, 7],
        "pen_train": [1, 2, 3],
        "z": 1,
    }
    table = parse_npz(npz(**pixels, **writers), "f")
    assert table.inputs.dtype == np.uint8
    assert table.inputs.shape == (6, 2, 2)
    assert {name: column.tolist() for name, column in table.columns.items()} == {
        "writer": ["7", "8", "7", "9", "7", "7"]
    }


def test_labels_may_be_names_of_classes() -> None:
    words = {"y_train": ["cat", "dog", "1"], "y_val": ["dog"], "y_test": ["cat", "cat"]}
    assert parse_npz(npz(**words), "f", ("cat", "dog")).labels.tolist() == [0, 1, 1, 1, 0, 0]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"x_val": None, "y_test": None},
            "it lacks the arrays x_val, y_test (it has x_train, y_train, y_val, x_",
        ),
        ({"y_train": np.zeros(4, int)}, "x_train has shape (3, 2), y_train (4,); give (n, ...) and (n,)"),
        ({"y_train": np.zeros((3, 1), int)}, "x_train has shape (3, 2), y_train (3, 1); give"),
        ({"x_val": np.zeros((0, 2)), "y_val": np.zeros(0, int)}, "x_val has shape (0, 2), y_val (0,); give"),
        (
            {"x_val": np.zeros((1, 3))},
            "x_val has shape (1, 3), float32; x_train (3, 2), float32; all need the same",
        ),
        (
            {"x_val": np.zeros((1, 2), np.uint8)},
            "x_val has shape (1, 2), uint8; x_train (3, 2), float32; all need",
        ),
        ({"x_train": np.zeros(3)}, "x_train has shape (3,); give (samples, features)"),
        ({"x_train": np.zeros((3, 0))}, "x_train has shape (3, 0); give (samples, features)"),
        ({"x_train": np.full((3, 2), "a")}, "x_train is of <U1; give numbers"),
        ({"x_train": np.zeros((3, 2), complex)}, "x_train is of complex128; give numbers"),
        ({"x_test": np.array([[0, 1], [np.nan, 2]])}, "x_test[1] has values that are no finite float32"),
        ({"x_test": np.array([[0, 1e300], [1, 2]])}, "x_test[0] has values that are no finite float32"),
        ({"x_train": np.zeros((3, 2), object)}, "x_train holds Python objects; save numbers"),
        ({"y_train": np.zeros(3)}, "y_train is of float64; give whole numbers from 0 up"),
        ({"y_train": np.array([0, -1, 2])}, "y_train[1] is -1; give labels from 0 to 9999"),
        ({"y_train": np.array([0, 1, 10_000])}, "y_train[2] is 10000; give labels from 0 to 9999"),
        (
            {"y_train": np.array(["a", "b", "c"])},
            "y_train[0] has 'a'; give whole numbers from 0 to 9999 or names, ",
        ),
        (
            {"writer_train": [1, 2], "writer_val": [3], "writer_test": [4, 5]},
            "writer_train, _val and _test need one value for each label",
        ),
        ({f"more{number}": 1 for number in range(95)}, "it holds more than 100 arrays or"),
    ],
)
def test_wrong_arrays_are_named(more: dict[str, Any], told: str) -> None:
    assert told in refused(lambda: parse_npz(npz(**more), "/d/a"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it cannot be read as .npz: File is not a zip file"),
        (npz()[:-30], "it cannot be read as .npz: "),
        (zipped("x_train", b"abc"), "x_train is no .npy file; save it with numpy.save"),
        (zipped("x_train", npy("{'descr': '<f8'}\n")), "x_train has a header that cannot be read: "),
        (
            zipped("x_train", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2)}\n")),
            "x_train promises shape (1000000000000, 2) of float64, which is not what is there",
        ),
        (
            zipped("x_train", npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}\n", b"0" * 9)),
            "x_train promises shape (1,) of float64, which is not what is there",
        ),
        (zipped("x_train", npy("{}\n", version=3)), "x_train is of version (3, 0); save plain numbers"),
    ],
)
def test_what_is_no_npz_file_is_refused(data: bytes, told: str) -> None:
    assert told in refused(lambda: parse_npz(data, "/d/a"))


def test_a_damaged_byte_never_is_a_bug() -> None:
    whole = npz()
    for place in range(0, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 0xFF
        with contextlib.suppress(SettingError):
            parse_npz(bytes(data), "/d/a")


CSV = b"label,split,width,height\n0,train,1,2\n1,train,3,4.5\n\n1, val ,5,-6\n0,test,7e0,8\n"


def test_lines_are_read() -> None:
    table = parse_csv(b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"), "f")
    assert table.inputs.tolist() == [[1, 2], [3, 4.5], [5, -6], [7, 8]]
    assert table.inputs.dtype == np.float32
    assert table.labels.tolist() == [0, 1, 1, 0]
    assert table.part is not None
    assert table.part.tolist() == [0, 0, 1, 2]
    free = parse_csv(b'writer,a,label\n"Ann, B.",1,cat\nBob,2,1\n', "f", ("cat", "dog"), "writer")
    assert free.part is None
    assert free.inputs.tolist() == [[1], [2]]
    assert free.labels.tolist() == [0, 1]
    assert free.columns["writer"].tolist() == ["Ann, B.", "Bob"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "its first line is ''; begin with the columns' names, each once, `label` among them"),
        (b"a,b\n1,2\n", "its first line is 'a, b'; begin with"),
        (b"a,a,label\n", "its first line is 'a, a, label'; begin with"),
        (b"label,split\n0,train\n", "all its columns are labels and splits"),
        (b"label,a\n", "it has no samples"),
        (b"label,a\n0,1\n0\n", "line 3 has 1 values, the first line 2; give as many"),
        (b"label,a\n0,x\n", "line 2, column 'a' has 'x'; give finite numbers, or leave the column out"),
        (b"label,a,b\n0,1,nan\n", "line 2, column 'b' has 'nan'; give finite numbers"),
        (b"label,a\n0,1e99\n", "line 2, column 'a' has '1e99'; give finite numbers"),
        (
            b"label,a\ncat,1\n",
            "line 2, column 'label' has 'cat'; give whole numbers from 0 to 9999 or names, listed",
        ),
        (b"label,a\n-1,1\n", "line 2, column 'label' has '-1'"),
        (b"label,a\n10000,1\n", "line 2, column 'label' has '10000'"),
        (b"label,split,a\n0,dev,1\n", "line 2, column 'split' has 'dev'; give train, val or test"),
        (b"label,split,a\n0,train,1\n", "column 'split' never says val, test; say it of some samples"),
        (b'label,a\n0,"1\n', "line 2 is no CSV: unexpected end of data"),
        (b"label,a\n0,\xff\n", "byte 10 is no text in UTF-8"),
    ],
)
def test_wrong_lines_are_named(data: bytes, told: str) -> None:
    assert told in refused(lambda: parse_csv(data, "/d/a"))


def test_a_column_that_is_asked_for_has_to_be_there() -> None:
    told = refused(lambda: parse_csv(CSV, "/d/a", None, "writer"))
    assert told == "it has no column 'writer'; there are label, split, width, height"
    assert "has '2'; give whole numbers from 0 to 1 or names of classes.txt" in refused(
        lambda: parse_csv(b"label,a\n2,1\n", "/d/a", ("cat", "dog"))
    )


def test_classes_are_named_one_a_line() -> None:
    assert parse_classes(b"cat\n dog \n\n", "f") == ("cat", "dog")
    for data in (b"", b"cat\n", b"cat\ncat\n", b"\n".join(b"%d" % number for number in range(10_001))):
        assert "different ones, one a line" in refused(lambda data=data: parse_classes(data, "/d/a"))
