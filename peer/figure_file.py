"""Files of figures: .png, .svg or .pdf, with matplotlib, which is the optional extra `plot`. An edge."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Final

from peer.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

FORMATS: Final = (".png", ".svg", ".pdf")


def check_figure(path: Path | None) -> None:
    """Raise `SettingError` before anything is worked out if the figure could not be written."""
    if path is None:
        return
    if path.suffix.lower() not in FORMATS:
        raise SettingError("figure", str(path), f"give a file that ends in {', '.join(FORMATS)}")
    if not path.absolute().parent.is_dir():
        raise SettingError("figure", str(path), "give a file in a folder that exists")
    if importlib.util.find_spec("matplotlib") is None:
        raise SettingError("figure", str(path), "install matplotlib: pip install 'hyperpush[plot]'")


def save_figure(figure: Any, path: Path) -> None:
    """Equal figures are equal files, whenever they were drawn. Raises `SettingError`."""
    import matplotlib as mpl

    undated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix.lower(), {})
    try:
        with mpl.rc_context({"svg.hashsalt": "hyperpush"}):
            figure.savefig(path, metadata=undated)
    except OSError as error:
        raise SettingError("figure", str(path), f"it cannot be written: {error.strerror}") from None
