"""`hyperpush report`: one page about a run, or about several beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from peer.errors import SettingError
from peer.report.html import as_html
from peer.report.markdown import as_markdown
from peer.report.page import make_page
from peer.report.reading import read_runs

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def main(options: argparse.Namespace) -> int:
    """Read, write, and say where; returns the exit code."""
    runs = read_runs(options.run_dir)
    page = make_page(runs)
    beside = options.run_dir[0] / ("report.html" if len(runs) == 1 else "comparison.html")
    html: Path = options.html or beside
    _write(html, as_html(page), "html")
    for run, remark in page.remarks:
        print(f"{run}: {remark}")
    print(f"{html}: {len(page.figures)} figures of {len(runs)} run{'s' if len(runs) > 1 else ''}")
    if options.markdown is not None:
        _write(options.markdown, as_markdown(page), "markdown")
        print(f"{options.markdown}: the same as Markdown")
    return 0


def _write(path: Path, text: str, option: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        remedy = f"it cannot be written: {error.strerror or error}; give a file that you may write to"
        raise SettingError(option, str(path), remedy) from None
