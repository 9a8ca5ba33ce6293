"""A report as Markdown: headings, sentences, numbers, and a line of characters for each curve. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peer.report.figure import Table
    from peer.report.page import Page, Section

ROWS_MAX: Final = 40  # of a table; the page of HTML and the files have all

_SPECIAL = re.compile(r"([\\`*_\[\]|~$@])")
_FIRST = re.compile(r"\A(#+|[+-]|\d+[.)])(?=\s|\Z)|\A[=-]+\Z")  # what makes a list or a heading of a line
_LINKED = re.compile(r"(?i)(?<=www)\.|:(?=//)")  # what is made a link of without being asked


def as_markdown(page: Page) -> str:
    """The whole text. What comes from a run directory stays text: no markup, no link, no HTML."""
    return "\n".join(_lines(page)) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, in a paragraph and in a cell of a table."""
    found = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    found = found.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    found = _LINKED.sub(r"\\\g<0>", found)
    first = _FIRST.match(found)
    return found if first is None else f"{found[: first.end() - 1]}\\{found[first.end() - 1 :]}"


def _lines(page: Page) -> Iterator[str]:
    yield from (f"# {escaped(page.title)}", "", escaped(page.subtitle), "")
    several = len(page.runs) > 1
    for run, told in (*page.verdicts, *page.remarks):
        yield from (f"> {escaped(f'{run}: {told}' if several else told)}", "")
    if page.facts:
        for name, value in page.facts:
            yield f"* {escaped(name)}: **{escaped(value)}**"
        yield ""
    for section in page.sections:
        yield from _section(section)


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {escaped(section.heading)}", "")
    for run, command in section.commands:
        if len(section.commands) > 1:
            yield from (f"{escaped(run)}:", "")
        yield from (f"    {' '.join(command.split())}", "")
    for sentence in section.sentences:
        yield from (escaped(sentence), "")
    for titled in section.tables:
        if titled.heading:
            yield from (f"### {escaped(titled.heading)}", "")
        yield from _table(titled.table)
    for figure in section.figures:
        yield from (f"### {escaped(figure.heading)}", "", escaped(figure.sentence), "")
        if figure.spark:
            yield from (f"`{figure.spark}`", "")
        yield from _table(figure.table)


def _table(table: Table) -> Iterator[str]:
    if not table.rows:
        return
    yield _row(table.headings)
    yield _row(
        ["---:" if index >= table.numeric else "---" for index in range(len(table.headings))], plain=True
    )
    for row in table.rows[:ROWS_MAX]:
        yield _row(row)
    if len(table.rows) > ROWS_MAX:
        yield from ("", f"{len(table.rows) - ROWS_MAX} more rows are on the page of HTML.")
    yield ""


def _row(cells: tuple[str, ...] | list[str], *, plain: bool = False) -> str:
    return f"| {' | '.join(cell if plain else escaped(cell) or ' ' for cell in cells)} |"
