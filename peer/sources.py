"""Which code this is: what a measurement or a verdict is of."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

import peer
import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FOLDERS: Final = {package.__name__: Path(str(package.__file__)).parent for package in (peer, wire)}


@functools.cache
def code(root: str) -> str:
    """The version of the package, and a digest of the module `root` and of all of ours that it imports.

    A result is of that code only: what shows it, or other commands, may change.
    """
    digest = hashlib.sha256()
    for name, path in sorted(modules_of(root).items()):
        content = path.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return f"{importlib.metadata.version('hyperpush')} {digest.hexdigest()[:16]}"


@functools.cache
def modules_of(root: str) -> dict[str, Path]:
    """Modules of ours and their files: `root`, its packages, and what any of these imports, wherever."""
    found: dict[str, Path] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        path = _path_of(name)
        if path is not None and name not in found:
            found[name] = path
            waiting += [name.rpartition(".")[0], *_imported(ast.parse(path.read_bytes()))]
    return found


def _path_of(name: str) -> Path | None:
    """Of a module of ours; None for anything else."""
    package, *parts = name.split(".")
    if package not in FOLDERS:
        return None
    path = FOLDERS[package].joinpath(*parts)
    candidates = (path / "__init__.py", path.with_suffix(".py"))
    return next((one for one in candidates if one.is_file()), None)


def _imported(node: ast.AST) -> Iterator[str]:
    """Names that may be modules; not what only a type checker imports."""
    inner: Iterable[ast.AST] = ()
    match node:
        case ast.Import(names=names):
            yield from (one.name for one in names)
        case ast.ImportFrom(module=str(module), names=names, level=0):
            yield module
            yield from (f"{module}.{one.name}" for one in names)
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=others):
            inner = others
        case _:
            inner = ast.iter_child_nodes(node)
    for one in inner:
        yield from _imported(one)
