"""The Markdown pages of the project, and the blocks of code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / "README.md", *(ROOT / "peer").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"))
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    page: str
    language: str  # "" for what programs print, and for shell commands
    text: str
    line: int
    output: str | None = None  # the block that follows directly, if it has no language

    @property
    def first(self) -> str:
        """By which it is known."""
        return self.text.split("\n", 1)[0].strip()


def text_of(page: str) -> str:
    """As it is."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> list[Block]:
    """In the order of the page."""
    text = text_of(page)
    found = list(re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    told = []
    for match, after in zip(found, [*found, None][1:], strict=True):
        follows = after is not None and not after[1] and not text[match.end() : after.start()].strip()
        output = after[2] if after is not None and match[1] and follows else None
        told.append(Block(page, match[1], match[2], text[: match.start()].count("\n") + 2, output))
    return told


def indented_lines(page: str) -> list[str]:
    """Lines of code that are marked by four spaces instead of a fence."""
    without_fences = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)$", without_fences, re.MULTILINE)


def commands(page: str) -> list[str]:
    """All `hyperpush ...` in backticks, in indented lines and at the start of a line of a fenced block."""
    fenced = [block.text.replace("\\\n", " ") for block in blocks(page) if not block.language]
    whole = re.findall(r"`(hyperpush [a-z][^`]*)`", text_of(page))
    whole += [*indented_lines(page), *"\n".join(fenced).split("\n")]
    parts = [part.strip() for line in whole for part in line.split("&&")]
    return [part for part in parts if re.match(r"hyperpush [a-z]", part)]


def anchors(path: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
