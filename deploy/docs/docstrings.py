"""Plain docstrings as reStructuredText; an extension of Sphinx.

Names in single backticks become links where the reference has them, other text in backticks literals, what
is indented below a paragraph a literal block. Marks that reStructuredText would take for markup are escaped.
A field that has no docstring of its own is described by the comment behind it.
"""

import builtins
import functools
import importlib
import inspect
import itertools
import re
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx import addnodes

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx

_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_COLUMNS = re.compile(r"\S {2,}\S")
_OF_THE_TYPE = ("Alias for field number", "int(", "Convert a number or string to an integer")
_BULLET = re.compile(r"(?:[-*]|\d+\.) +")


def setup(app: "Sphinx") -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _process)
    app.connect("autodoc-process-signature", _without_factories)
    app.connect("source-read", _without_folders)
    app.connect("doctree-read", _without_builtins)
    app.connect("build-finished", _write_entrance)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def as_rst(lines: list[str]) -> list[str]:
    """The same text for Sphinx."""
    told: list[str] = []
    margin = 0  # of text that belongs to the last item of a list
    in_block = False
    for filled, group in itertools.groupby(lines, key=lambda line: bool(line.strip())):
        chunk = list(group)
        indent = len(chunk[0]) - len(chunk[0].lstrip())
        if not filled:
            told += chunk
        elif chunk[0].lstrip().startswith(">>>"):
            told += chunk
            in_block = False
        elif indent > margin or _COLUMNS.search(chunk[0]):
            told += ([] if in_block else [f"{' ' * margin}::", ""]) + [f"    {line}" for line in chunk]
            in_block = True
        else:
            told += [_inline(line) for line in chunk]
            last = next((line for line in reversed(chunk) if _BULLET.match(line)), "")
            margin = len(match[0]) if (match := _BULLET.match(last)) else indent
            in_block = False
    return told


def _inline(line: str) -> str:
    """One line of a paragraph, or of a list."""
    bullet = _BULLET.match(line.lstrip())
    start = len(line) - len(line.lstrip()) + (len(bullet[0]) if bullet else 0)
    parts = re.split(r"`+", line[start:])
    for number, part in enumerate(parts):
        if number % 2 == 0 or number == len(parts) - 1:
            parts[number] = re.sub(r"(?<=\w)_(?=\W|$)|[*|\\]", r"\\\g<0>", part)
        else:
            parts[number] = f":py:obj:`{_target(part)}`" if _NAME.fullmatch(part) else f"``{part}``"
    return line[:start] + "".join(parts)


def _target(name: str) -> str:
    """Where a name leads: a class to its entry wherever that is, others as they are written."""
    if "." not in name:
        return f".{name}" if name[0].isupper() and not name.isupper() else name
    module, _, last = name.rpartition(".")
    found = getattr(sys.modules.get(module), last, None) if module in ("peer", "wire") else None
    home = getattr(found, "__module__", "")
    whole = isinstance(found, type) or home.startswith("wire.")
    return f"{name} <{home}.{last}>" if whole else name


@functools.cache
def _comments(owner: type | types.ModuleType) -> dict[str, str]:
    """What is said behind the fields of a class, or behind the constants of a module."""
    try:
        source = inspect.getsource(owner)
    except (OSError, TypeError):
        return {}
    margin = "    " if isinstance(owner, type) else ""
    return dict(re.findall(rf"^{margin}(\w+): [^\n#]*?  # (?!noqa)(.+)$", source, re.MULTILINE))


def _process(app: "Sphinx", what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    del app, thing, options
    silent = not any(line.strip() for line in lines)
    if what in ("attribute", "data") and (silent or lines[0].startswith(_OF_THE_TYPE)):
        lines[:] = _said_behind(name)
    lines[:] = as_rst(lines)


def _said_behind(name: str) -> list[str]:
    """Of a field or of a constant, by its full name."""
    path, _, last = name.rpartition(".")
    try:
        owners: tuple[type | types.ModuleType, ...] = (importlib.import_module(path),)
    except ImportError:
        module, _, owner = path.rpartition(".")
        owners = getattr(importlib.import_module(module), owner).__mro__
    return next(([said[last]] for said in map(_comments, owners) if last in said), [])


def _without_factories(
    app: "Sphinx",
    what: str,
    name: str,
    thing: object,
    options: object,
    arguments: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Defaults that are made anew each time are no Python when written as dataclasses do."""
    del app, what, name, thing, options
    return arguments and arguments.replace("<factory>", "..."), returns


def _without_builtins(app: "Sphinx", doctree: "nodes.document") -> None:
    """Types such as `bytes` lead nowhere, and not to a field of that name."""
    del app
    for reference in list(doctree.findall(addnodes.pending_xref)):
        if hasattr(builtins, reference.get("reftarget", "")):
            short = next(iter(reference.findall(addnodes.pending_xref_condition)), reference)
            reference.replace_self(short.children)


def _without_folders(app: "Sphinx", name: str, source: list[str]) -> None:
    """Links to folders of the checkout lead to no page: only their text stays."""
    here = Path(app.srcdir, name).parent

    def plain(link: re.Match[str]) -> str:
        return link[1] if (here / link[2]).is_dir() else link[0]

    source[0] = re.sub(r"\[([^]]+)\]\(([^)#:\s]+)\)", plain, source[0])


def _write_entrance(app: "Sphinx", error: Exception | None) -> None:
    """So that the folder that was built can be opened as it is."""
    if error is None and app.builder.name == "html":
        text = f'<meta http-equiv="refresh" content="0; url={app.config.root_doc}.html">\n'
        (Path(app.outdir) / "index.html").write_text(text, encoding="utf-8")
