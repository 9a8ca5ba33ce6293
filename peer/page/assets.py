"""What the page is made of, from installed packages: nothing comes from anywhere else. An edge: files."""

from __future__ import annotations

import gzip
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
PAGE: Final = "page.html"
CHARTS: Final = "plotly.min.js"  # of the package plotly
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
COMPRESSED_FROM_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content_type: str
    plain: bytes
    compressed: bytes | None  # by gzip, where that saves much
    version: str  # changes when the content may


@lru_cache(maxsize=32)
def asset(name: str) -> Asset | None:
    """The file of this name; None if there is none. Only names of NAMES are files."""
    path = _chart_library() if name == CHARTS else STATIC / name if name in names() else None
    if path is None or not path.is_file():
        return None
    plain = path.read_bytes()
    compressed = gzip.compress(plain, mtime=0) if len(plain) >= COMPRESSED_FROM_BYTES else None
    package = "plotly" if name == CHARTS else "hyperpush"
    version = f"{importlib.metadata.version(package)}-{len(plain):x}"
    return Asset(TYPES[path.suffix], plain, compressed, version)


@lru_cache(maxsize=1)
def names() -> frozenset[str]:
    """Of all files that are there."""
    return frozenset(path.name for path in STATIC.iterdir() if path.suffix in TYPES) | {CHARTS}


def _chart_library() -> Path | None:
    """Where plotly has it; the package is not imported, which would take memory and time."""
    found = importlib.util.find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "package_data" / CHARTS
