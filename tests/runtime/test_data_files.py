"""IDX files as they lie on disks: found in every usual place, read in bounded memory, refused by name."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from peer.data.files import IMAGE_SETS, class_names_in, read_idx, read_image_set, read_table, tables_in
from peer.errors import SettingError
from tests.data_files import idx, images_of, needs_fashion_mnist, write_set

if TYPE_CHECKING:
    from pathlib import Path

FASHION, MNIST, EMNIST = (IMAGE_SETS[name] for name in ("fashion-mnist", "mnist", "emnist"))
BYCLASS = ("emnist-byclass-train", "emnist-byclass-test")


@pytest.mark.parametrize("below", [".", "FashionMNIST/raw", "FashionMNIST", "raw"])
@pytest.mark.parametrize("zipped", [False, True])
def test_files_are_found_as_they_come_and_as_torchvision_puts_them(
    below: str, zipped: bool, tmp_path: Path
) -> None:
    write_set(tmp_path / below, zipped=zipped)
    data = read_image_set(FASHION, tmp_path)
    assert data.inputs.shape == (800, 8, 8)
    assert data.labels.tolist() == [*(np.arange(600) % 10), *(np.arange(200) % 10)]
    assert np.array_equal(data.inputs[:600], images_of(np.arange(600) % 10))
    assert data.names[9] == "ankle boot"
    write_set(tmp_path / "plain")
    assert data.digest() == read_image_set(FASHION, tmp_path / "plain").digest()


def test_names_with_a_dot_are_found_too(tmp_path: Path) -> None:
    write_set(tmp_path)
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    assert len(read_image_set(MNIST, tmp_path).labels) == 800


@pytest.mark.parametrize("below", [".", "gzip", "EMNIST/raw", "EMNIST/raw/gzip"])
def test_emnist_has_62_classes_and_is_turned_upright(below: str, tmp_path: Path) -> None:
    write_set(tmp_path / below, names=BYCLASS, classes=62, counts=(124, 62), zipped=True)
    data = read_image_set(EMNIST, tmp_path)
    assert "".join(data.names) == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert data.labels.max() == 61
    assert np.array_equal(data.inputs[:124], images_of(np.arange(124) % 62).transpose(0, 2, 1))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"data_dir: '.*nowhere' is not possible; there is no such folder"):
        read_image_set(MNIST, tmp_path / "nowhere")
    with pytest.raises(
        SettingError, match=r"train-images-idx3-ubyte or \.gz is not in it; fetch its four IDX"
    ):
        read_image_set(MNIST, tmp_path)
    with pytest.raises(SettingError, match="task: 'mnist' is not possible; its data are not on this machine"):
        read_image_set(MNIST, None)
    write_set(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SettingError, match=r"t10k-labels-idx1-ubyte or \.gz is missing there; fetch"):
        read_image_set(MNIST, tmp_path)
    with pytest.raises(SettingError, match="x' is not possible; it cannot be read: No such file"):
        read_idx(tmp_path / "x")


def test_labels_of_another_data_set_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path, classes=12)
    with pytest.raises(
        SettingError, match=r"train-labels-idx1-ubyte' .* label 10 is 10, this data set has 0 to 9"
    ):
        read_image_set(MNIST, tmp_path)


def test_files_that_are_cut_or_damaged_are_refused(tmp_path: Path) -> None:
    whole = gzip.compress(idx(np.zeros((50, 4, 4))), mtime=0)
    path = tmp_path / "x.gz"
    for data in (whole[:-9], whole[:20], whole[:3], whole[:-8] + b"\0" * 8, whole[:10] + b"\xff" * 30):
        path.write_bytes(data)
        with pytest.raises(
            SettingError, match=r"x.gz' is not possible; it is damaged or cut short: .*fetch it"
        ):
            read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_gets_no_more_memory_than_there_is_data(zipped: bool, tmp_path: Path) -> None:
    promised = b"\0\0\x08\x03" + struct.pack(">III", 2**21, 28, 28)
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(promised + bytes(1000)) if zipped else promised + bytes(1000))
    tracemalloc.start()
    try:
        assert len(read_idx(path)) == 1016
        assert tracemalloc.get_traced_memory()[1] < 2**23, "1.6 GB were promised"
    finally:
        tracemalloc.stop()


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(gzip.compress(idx(np.zeros(4)) + bytes(2**26)))
    tracemalloc.start()
    try:
        assert len(read_idx(path)) <= 16
        assert tracemalloc.get_traced_memory()[1] < 2**23, "64 MB are in it"
    finally:
        tracemalloc.stop()


def test_tables_are_in_the_order_of_their_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("agent-10.npz", "agent-9.csv", "b.npz", "agent-1.npz", ".agent-0.npz", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    names = ["agent-1.npz", "agent-9.csv", "agent-10.npz", "b.npz"]
    assert [path.name for path in tables_in(tmp_path)] == names
    assert tables_in(tmp_path / "b.npz") == [tmp_path / "b.npz"]
    assert read_table(tmp_path / "b.npz") == b"x"
    assert class_names_in(tmp_path) is None
    (tmp_path / "classes.txt").write_bytes(b"cat\ndog\n")
    assert class_names_in(tmp_path / "b.npz") == (b"cat\ndog\n", str(tmp_path / "classes.txt"))
    with pytest.raises(SettingError, match=r"notes.txt' is not possible; it is no \.npz or \.csv file"):
        tables_in(tmp_path / "notes.txt")
    with pytest.raises(SettingError, match="nowhere' is not possible; it cannot be read: No such file"):
        tables_in(tmp_path / "nowhere")
    with pytest.raises(SettingError, match=r"there are no \.npz or \.csv files in it"):
        tables_in(tmp_path / "empty")
    with pytest.raises(SettingError, match="x' is not possible; it cannot be read: No such file"):
        read_table(tmp_path / "x")
    monkeypatch.setattr("peer.data.files.CSV_BYTES_MAX", 3)
    (tmp_path / "agent-9.csv").write_bytes(b"four")
    with pytest.raises(SettingError, match=r"agent-9\.csv' is not possible; it has more than 3 bytes"):
        read_table(tmp_path / "agent-9.csv")


@needs_fashion_mnist
def test_fashion_mnist_is_where_debian_puts_it() -> None:
    data = read_image_set(FASHION, None)
    assert data.inputs.shape == (70_000, 28, 28)
    assert np.bincount(data.labels).tolist() == [7000] * 10
    assert data.names[data.labels[0]] == "ankle boot", "the first one of the training part"
    assert data.inputs.mean() / 255 == pytest.approx(0.286, abs=1e-3)
    assert data.digest() == "a810c59d68bbd99d"
