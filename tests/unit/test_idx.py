"""IDX files: what is right is read, whatever is wrong is named with file, value and remedy."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from peer.data.idx import CONTENT_BYTES_MAX, file_bytes, joined, labelled_images, parse_idx
from peer.errors import SettingError
from tests.data_files import idx

NAMES = tuple("0123456789")
PIXELS = np.arange(2 * 3 * 4).reshape(2, 3, 4)


def test_an_array_is_read_as_it_was_written() -> None:
    data = idx(PIXELS)
    assert file_bytes(data[:16], "f") == len(data) == 16 + 24
    found = parse_idx(data, "f")
    assert found.dtype == np.uint8
    assert np.array_equal(found, PIXELS)


def test_images_of_emnist_are_turned_upright() -> None:
    data = labelled_images((idx(PIXELS), "i"), (idx(np.array([3, 9])), "l"), NAMES, transposed=True)
    assert data.inputs.shape == (2, 4, 3)
    assert np.array_equal(data.inputs[1], PIXELS[1].T)
    assert data.labels.tolist() == [3, 9]
    assert data.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it begins with nothing: it is no IDX file"),
        (b"\x1f\x8b\x08\x00", "it begins with 1f 8b 08 00: it is no IDX file"),
        (idx(PIXELS, kind=0x0D), "its values are of type 0x0d; give an IDX file of unsigned bytes"),
        (b"\0\0\x08\x00", "it has 0 dimensions"),
        (b"\0\0\x08\x04" + bytes(20), "it has 4 dimensions"),
        (idx(PIXELS)[:9], "it ends after 9 bytes, within its header"),
        (
            idx(PIXELS)[:-1],
            r"its header promises 40 bytes \(2 x 3 x 4\), 39 bytes are there: it was cut short",
        ),
        (idx(PIXELS) + b"!", r"its header promises 40 bytes \(2 x 3 x 4\), more is there"),
        (
            b"\0\0\x08\x03" + struct.pack(">III", 2**32 - 1, 2**32 - 1, 2**32 - 1),
            f"its header promises {(2**32 - 1) ** 3} bytes, more than {CONTENT_BYTES_MAX}: it is damaged",
        ),
    ],
)
def test_what_is_no_whole_file_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(SettingError, match=f"^data_dir: '/data/x' is not possible; {told}"):
        parse_idx(data, "/data/x")


@pytest.mark.parametrize(
    ("images", "labels", "told"),
    [
        (np.zeros(5), np.zeros(5), "'i' is not possible; it has 1 dimensions, images have 3"),
        (np.zeros((5, 2, 2)), np.zeros((5, 2, 2)), "'l' is not possible; it has 3 dimensions, labels have 1"),
        (np.zeros((5, 0, 2)), np.zeros(5), "'i' is not possible; its images are 0 x 2 pixels"),
        (np.zeros((1, 1025, 1)), np.zeros(1), "'i' is not possible; its images are 1025 x 1 pixels"),
        (np.zeros((5, 2, 2)), np.zeros(4), "'l' is not possible; it has 4 labels for 5 images"),
        (np.zeros((0, 2, 2)), np.zeros(0), "'l' is not possible; it has 0 labels for 0 images"),
        (
            np.zeros((3, 2, 2)),
            np.array([9, 10, 11]),
            "'l' is not possible; label 1 is 10, this data set has 0 to 9",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(images: np.ndarray, labels: np.ndarray, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        labelled_images((idx(images), "i"), (idx(labels), "l"), NAMES)


def test_both_parts_are_joined_if_their_images_fit() -> None:
    first, second, other = (
        labelled_images(
            (idx(np.full((count, side, side), count)), "i"), (idx(np.full(count, count)), "l"), NAMES
        )
        for count, side in ((2, 3), (4, 3), (1, 5))
    )
    both = joined(first, second, "f")
    assert both.labels.tolist() == [2, 2, 4, 4, 4, 4]
    assert both.inputs[:, 1, 1].tolist() == [2, 2, 4, 4, 4, 4]
    assert both.names == NAMES
    with pytest.raises(
        SettingError, match=r"'f' is not possible; its images are 5 x 5 pixels, those .* 3 x 3"
    ):
        joined(first, other, "f")
