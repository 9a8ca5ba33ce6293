"""Which formats there are, what each needs, and by which endings of names they are known."""

from __future__ import annotations

import importlib.util
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from peer.errors import SettingError
from peer.exporting import onnx_file, safetensors_file, torch_export

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from torch import Tensor

    from peer.exporting.facts import Facts
    from peer.personal_module import PersonalModule


class Format(NamedTuple):
    """One way to keep a personal model."""

    suffix: str
    write: Callable[[PersonalModule, Facts, Path], None]  # raises `ProblemError`
    read: Callable[[Path, PersonalModule], Callable[[Tensor], Tensor]]  # inputs to outputs, by the file
    needs: tuple[str, ...] = ()  # packages, of the extra named like the format


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "torch-export": Format(".pt2", torch_export.write, torch_export.read),
        "onnx": Format(".onnx", onnx_file.write, onnx_file.read, onnx_file.NEEDED),
        "safetensors": Format(".safetensors", safetensors_file.write, safetensors_file.read),
    }
)


def chosen_format(name: str | None, file: Path) -> str:
    """The format of this name, or the one that the file is called after. Raises `SettingError`."""
    if name is None:
        for known, one in FORMATS.items():
            if file.suffix == one.suffix:
                name = known
    if name is None:
        endings = ", ".join(one.suffix for one in FORMATS.values())
        remedy = f"give a name that ends in {endings}, or --format {', '.join(FORMATS)}"
        raise SettingError("file", str(file), remedy)
    lacking = [package for package in FORMATS[name].needs if importlib.util.find_spec(package) is None]
    if lacking:
        remedy = f"install {' and '.join(lacking)}: pip install 'hyperpush[{name}]'"
        raise SettingError("format", name, remedy)
    return name
