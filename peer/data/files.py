"""Where data lie on a disk, and reading them without more memory than they take. An edge."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from peer.data.idx import HEADER_BYTES_MAX, file_bytes, joined, labelled_images
from peer.data.tables import CSV_BYTES_MAX, FILE_BYTES_MAX
from peer.errors import SettingError

if TYPE_CHECKING:
    from peer.data.labelled import LabelledData

PIECE: Final = 2**20
GZIP: Final = b"\x1f\x8b"
DIGITS: Final = tuple("0123456789")
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
CLASSES_FILE: Final = "classes.txt"
TABLES: Final = (".npz", ".csv")


@dataclass(frozen=True, slots=True)
class ImageSet:
    """A data set of images in four IDX files."""

    name: str
    classes: tuple[str, ...]
    files: tuple[str, str]  # the first words of the names of its two parts
    torchvision: str  # its folder below the `root` of torchvision.datasets
    places: tuple[Path, ...]  # where it is looked for without --data-dir
    remedy: str
    transposed: bool = False


IMAGE_SETS: Final = {
    one.name: one
    for one in (
        ImageSet(
            "fashion-mnist",
            (
                *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
                *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
            ),
            ("train", "t10k"),
            "FashionMNIST",
            (Path("/usr/share/datasets/fashion-mnist"),),
            "on Debian: apt install dataset-fashion-mnist; else fetch the four IDX files of "
            "github.com/zalandoresearch/fashion-mnist and say where with --data-dir DIR",
        ),
        ImageSet(
            "mnist",
            DIGITS,
            ("train", "t10k"),
            "MNIST",
            (),
            "fetch its four IDX files and say where with --data-dir DIR",
        ),
        ImageSet(
            "emnist",
            (*DIGITS, *LETTERS, *LETTERS.lower()),
            ("emnist-byclass-train", "emnist-byclass-test"),
            "EMNIST",
            (),
            "fetch the IDX files of its split `byclass` (NIST) and say where with --data-dir DIR",
            transposed=True,
        ),
    )
}


def read_image_set(images: ImageSet, folder: Path | None) -> LabelledData:
    """Both parts of it, one after the other. Raises `SettingError` naming the file."""
    where = _folder_of(images, folder)
    parts = []
    for first in images.files:
        pixels, labels = (_find(where, f"{first}-{kind}") for kind in ("images-idx3", "labels-idx1"))
        if pixels is None or labels is None:
            kind = "images-idx3" if pixels is None else "labels-idx1"
            _refuse(where, f"{first}-{kind}-ubyte or .gz is missing there; {images.remedy}")
        read = [(read_idx(path), str(path)) for path in (pixels, labels)]
        part = labelled_images(read[0], read[1], images.classes, transposed=images.transposed)
        parts.append((part, str(pixels)))
    return joined(parts[0][0], *parts[1])


def _folder_of(images: ImageSet, folder: Path | None) -> Path:
    """The folder that has the files: as given, or as torchvision arranges what it fetches."""
    roots = images.places if folder is None else (folder,)
    for root in roots:
        below = root / images.torchvision
        for where in (root, below / "raw", below, root / "raw", root / "gzip", below / "raw" / "gzip"):
            if _find(where, f"{images.files[0]}-images-idx3") is not None:
                return where
    if folder is None:
        raise SettingError("task", images.name, f"its data are not on this machine; {images.remedy}")
    if not folder.is_dir():
        _refuse(folder, "there is no such folder; give one with the files")
    raise SettingError(
        "data_dir", str(folder), f"{images.files[0]}-images-idx3-ubyte or .gz is not in it; {images.remedy}"
    )


def _find(where: Path, stem: str) -> Path | None:
    dotted = stem.replace("-idx", ".idx")
    names = [f"{one}-ubyte{end}" for one in (stem, dotted) for end in ("", ".gz")]
    return next((where / name for name in names if (where / name).is_file()), None)


def read_idx(path: Path) -> bytes:
    """All bytes of an IDX file, compressed or not; one more than its header promises, if there are more.

    Raises `SettingError`. Memory: what is there, and never more than the header promises.
    """
    try:
        with path.open("rb") as plain:
            compressed = plain.read(2) == GZIP
            plain.seek(0)
            if not compressed:
                return _promised(plain, path)
            with gzip.GzipFile(fileobj=plain) as unpacked:
                return _promised(unpacked, path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        _refuse(path, f"it is damaged or cut short: {error}; fetch it again")
    except OSError as error:
        _refuse(path, f"it cannot be read: {error.strerror}")


def _promised(source: BinaryIO | gzip.GzipFile, path: Path) -> bytes:
    header = source.read(HEADER_BYTES_MAX)
    missing = file_bytes(header, str(path)) + 1 - len(header)
    return _bounded(source, header, missing)


def _bounded(source: BinaryIO | gzip.GzipFile, found: bytes, most: int) -> bytes:
    """These bytes and at most so many more, piece by piece: a large number takes no memory by itself."""
    pieces = bytearray(found)
    while most > 0 and (piece := source.read(min(PIECE, most))):
        pieces += piece
        most -= len(piece)
    return bytes(pieces)


def tables_in(where: Path) -> list[Path]:
    """The .npz and CSV files of a folder, `agent-2` before `agent-10`; or the one file that this is.

    Raises `SettingError`.
    """
    if where.is_file():
        if where.suffix not in TABLES:
            _refuse(where, f"it is no {' or '.join(TABLES)} file; give one, or a folder of them")
        return [where]
    try:
        found = [path for path in where.iterdir() if path.suffix in TABLES and not path.name.startswith(".")]
    except OSError as error:
        _refuse(where, f"it cannot be read: {error.strerror}; give a folder with one file for every agent")
    if not found:
        _refuse(where, f"there are no {' or '.join(TABLES)} files in it; give one for every agent")
    return sorted(found, key=_by_number)


def _by_number(path: Path) -> list[tuple[int, str]]:
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"([0-9]+)", path.name)]


def read_table(path: Path) -> bytes:
    """All bytes of one of them. Raises `SettingError` for more than `peer.data.tables` takes."""
    most = CSV_BYTES_MAX if path.suffix == ".csv" else FILE_BYTES_MAX
    return _whole(path, most)


def class_names_in(where: Path) -> tuple[bytes, str] | None:
    """The content of `classes.txt` beside the data, and its path; None if there is none."""
    path = (where if where.is_dir() else where.parent) / CLASSES_FILE
    return (_whole(path, PIECE), str(path)) if path.is_file() else None


def _whole(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as source:
            found = _bounded(source, b"", most + 1)
    except OSError as error:
        _refuse(path, f"it cannot be read: {error.strerror}")
    if len(found) > most:
        _refuse(path, f"it has more than {most} bytes; give less, or read the data in a task of your own")
    return found


def _refuse(path: Path, remedy: str) -> NoReturn:
    raise SettingError("data_dir", str(path), remedy)
