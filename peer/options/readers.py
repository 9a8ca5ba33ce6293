"""Values as they are given, in text (flags, environment) or in TOML, and what they have to be.

A reader takes what was given and returns the value, or raises a `ValueError` (`SettingError`, `AddressError`,
`FaultPlanError` are some) naming value and remedy. Which option it was is said by who called.
`read(as_toml(read(given))) == read(given)`, so that effective values can be written as a file.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

from peer.data.choice import checked_model
from peer.data.scheme import Scheme, parse_scheme
from peer.errors import SettingError
from peer.extensions import find, make, names
from peer.options.names import ENGINES, EXPORT_FORMATS, TEMPLATES
from peer.until import Goal, parse_goal
from wire import (
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    AddressError,
    Delay,
    LinkModel,
    format_address,
    parse_address,
    parse_delay,
)
from wire.bandwidth import parse_bandwidth
from wire.messages import name_problem

Reader = Callable[[object], object]
TomlValue = str | bool | int | float | list["TomlValue"]

WHOLE_MAX: Final = 2**63 - 1  # what random generators take as a seed
DNS_PORT: Final = 7700  # of agents found by a DNS name, where nothing else says it
NO_ADMIN: Final = "none"
LOG_FORMATS: Final = ("text", "json")

_SHARD = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")
_SCHEME = re.compile("https?://")
_BYTES = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMG]?)")
_BYTES_UNIT: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def refuse(given: object, remedy: str) -> NoReturn:
    """Raise the error of a reader; who calls it puts the option's name in place of `value`."""
    raise SettingError("value", given, remedy)


def log_format(given: object) -> str:
    """How a run says what happens."""
    if given not in LOG_FORMATS:
        refuse(given, f"give {' or '.join(LOG_FORMATS)}")
    return str(given)


def engine(given: object) -> str:
    """What runs the processes of a command."""
    if given not in ENGINES:
        refuse(given, f"give {' or '.join(ENGINES)}")
    return str(given)


def text(given: object) -> str:
    """Printable, because it ends in logs, tables and files."""
    if not isinstance(given, str):
        refuse(given, "give text in quotes")
    if not given or not given.isprintable():
        refuse(given, "give printable text, not empty")
    return given


def text_or_nothing(given: object) -> str:
    """For options whose value may be left out."""
    return "" if given == "" else text(given)


def path(given: object) -> Path:
    """A file or folder; whether it is there is found out by who opens it."""
    return Path(text(given))


def task(given: object) -> str | Path:
    """The name of a task, or a file of Python that is one."""
    told = text(given)
    return Path(told) if told.endswith(".py") or "/" in told else told


def export_format(given: object) -> str:
    """The name of a format of files."""
    if given not in EXPORT_FORMATS:
        refuse(given, f"give one of {', '.join(EXPORT_FORMATS)}")
    return str(given)


def template(given: object) -> str:
    """The name of a template."""
    if given not in TEMPLATES:
        refuse(given, f"give one of {', '.join(TEMPLATES)}")
    return str(given)


def partition(given: object) -> Scheme:
    """How samples are shared out; see `peer.data.scheme`."""
    return parse_scheme(text(given))


def model(given: object) -> str:
    """The name of a model of the built-in tasks."""
    return checked_model(text(given))


def switch(given: object) -> bool:
    """On or off."""
    known = given if isinstance(given, bool) else _WORDS.get(str(given).lower())
    if known is None:
        refuse(given, "give true or false")
    return known


def number(given: object) -> float:
    """Any number, those that are not finite included: `AgentSettings` says which are possible."""
    if not isinstance(given, str | int | float) or isinstance(given, bool):
        refuse(given, "give a number")
    try:
        return float(given)
    except (ValueError, OverflowError):
        refuse(given, "give a number")


def positive(given: object) -> float:
    """Above 0 and finite."""
    value = number(given)
    if not 0 < value < math.inf:
        refuse(given, "give a number above 0")
    return value


def share(given: object) -> float:
    """A probability."""
    value = number(given)
    if not 0 <= value <= 1:
        refuse(given, "give a number from 0 to 1: 0.3 is 30 %")
    return value


def links(given: object) -> str:
    """Whether senders know which links are down."""
    told = text(given)
    if told not in ("known", "silent"):
        refuse(given, "give known or silent")
    return told


def integer(given: object) -> int:
    """Any whole number."""
    if not isinstance(given, str | int) or isinstance(given, bool):
        refuse(given, "give a whole number")
    try:
        return int(given)
    except ValueError:
        refuse(given, "give a whole number")


def whole(least: int) -> Reader:
    """Whole numbers from `least` up."""

    def read(given: object) -> int:
        value = integer(given)
        if not least <= value <= WHOLE_MAX:
            limit = f"{least} or more" if value < least else f"at most {WHOLE_MAX}"
            refuse(given, f"give a whole number, {limit}")
        return value

    return read


def byte_count(given: object) -> int:
    """Bytes: a number, or text with k, M, G for thousands, millions, billions."""
    match = _BYTES.fullmatch(str(given)) if isinstance(given, str | int | float) else None
    value = float(match[1]) * _BYTES_UNIT[match[2]] if match else math.nan
    if not 0 <= value <= WHOLE_MAX:
        refuse(given, "give bytes, such as 64000, 100k or 2M")
    return int(value)


def byte_counts(given: object) -> tuple[int, ...]:
    """Several sizes, separated by commas."""
    sizes = tuple(byte_count(part.strip()) for part in text(given).split(","))
    if 0 in sizes:
        refuse(given, "give sizes above 0, such as 4k,64k,1M")
    return sizes


def numbers(given: object) -> tuple[int, ...]:
    """Several whole numbers from 0 up, separated by commas."""
    found = tuple(integer(part.strip()) for part in text(given).split(","))
    if min(found) < 0:
        refuse(given, "give whole numbers from 0 up, such as 0,3,4")
    return found


def delay(given: object) -> Delay:
    """How long messages are on their way."""
    if not isinstance(given, str):
        refuse(given, "give text with a unit, such as 20ms or uniform:10ms:90ms")
    return parse_delay(given)


def fault_model(given: object) -> LinkModel:
    """A model of links that another package brings."""
    found: LinkModel | None = make("fault_model", text(given))
    return _refuse_unknown("fault_model", given) if found is None else found


def optimizer(given: object) -> str:
    """The name of an optimizer, tried at once: what is wrong is said before anything starts."""
    told = text(given)
    if told != "descent":
        from peer.optimizers import optimizer_maker

        optimizer_maker(told)
    return told


def discovery(given: object) -> str:
    """A way of finding others that another package brings, NAME or NAME:TEXT; made later, for a record."""
    return _brought("discovery", given)


def transport(given: object) -> str:
    """Links that another package brings, likewise."""
    return _brought("transport", given)


def _brought(point: str, given: object) -> str:
    told = text(given)
    return _refuse_unknown(point, given) if find(point, told.partition(":")[0]) is None else told


def _refuse_unknown(point: str, given: object) -> NoReturn:
    known = ", ".join(names(point))
    refuse(given, f"give one of {known}" if known else "no package that is installed brings one")


def bandwidth(given: object) -> str:
    """Bits or bytes a second, with a unit; see `wire.bandwidth.parse_bandwidth`."""
    parse_bandwidth(text(given))
    return text(given)


def goal(given: object) -> Goal:
    """A reason to end."""
    return parse_goal(text(given))


def shard(given: object) -> str:
    """I/N; see `shard_of`."""
    shard_of(text(given))
    return text(given)


def shard_of(given: str) -> tuple[int, int]:
    """`3/8` as (2, 8): index from 0, and count. Raises `SettingError`."""
    match = _SHARD.fullmatch(given)
    if match and 1 <= int(match[1]) <= int(match[2]):
        return int(match[1]) - 1, int(match[2])
    raise SettingError("shard", given, "give I/N with 1 <= I <= N, such as 3/8")


def swarm(given: object) -> str:
    """A name that messages can carry."""
    return _name(given, SWARM_BYTES_MAX)


def agent_name(given: object) -> str:
    """The part of an agent's name that people read."""
    return _name(given, PEER_ID_BYTES_MAX)


def _name(given: object, bytes_max: int) -> str:
    name = text(given)
    problem = name_problem(name, bytes_max)
    if problem is not None:
        refuse(name, problem)
    return name


def peer_address(given: object) -> str:
    """HOST:PORT of another agent."""
    parse_address(text(given))
    return text(given)


def listening(given: object) -> str:
    """HOST:PORT to listen on; see `listen_address`."""
    listen_address(text(given))
    return text(given)


def listen_address(given: str) -> tuple[str, int]:
    """HOST:PORT where port 0 asks for a free one. Raises `wire.AddressError`."""
    host, colon, port = given.rpartition(":")
    if colon and port == "0":
        return _host_of(host, given), 0
    return parse_address(given)


def admin(given: object) -> str:
    """HOST:PORT, a URL of it, or `none`; see `admin_address`."""
    admin_address(text(given))
    return text(given)


def admin_address(given: str) -> tuple[str, int] | None:
    """Where status is told and faults are set, also as the URL of it; None: nowhere.

    Raises `wire.AddressError`.
    """
    return None if given == NO_ADMIN else listen_address(_SCHEME.sub("", given).removesuffix("/"))


def advertised(given: object) -> str:
    """HOST or HOST:PORT; see `advertised_address`."""
    advertised_address(text(given))
    return text(given)


def advertised_address(given: str) -> tuple[str, int | None]:
    """Host and, if it is another than the one listened on, port. Raises `wire.AddressError`."""
    return _with_port(given)


def dns_name(given: object) -> str:
    """NAME or NAME:PORT; see `dns_address`."""
    dns_address(text(given), 0)
    return text(given)


def dns_address(given: str, listen_port: int) -> tuple[str, int]:
    """Name and port to ask for agents: by default the port listened on, if that is fixed, else DNS_PORT."""
    host, port = _with_port(given)
    return host, port or listen_port or DNS_PORT


def _with_port(given: str) -> tuple[str, int | None]:
    """Host without brackets, and port."""
    try:
        bare_ipv6 = ipaddress.ip_address(given.strip("[]")).version == 6
    except ValueError:
        bare_ipv6 = False
    if not bare_ipv6 and ":" in given:
        return parse_address(given)
    return _host_of(format_address(given.strip("[]"), 1).removesuffix(":1"), given), None


def _host_of(host: str, given: str) -> str:
    """The host, brackets removed, of an address that has no port yet. Raises `wire.AddressError`."""
    try:
        return parse_address(f"{host}:1")[0]
    except AddressError as error:
        told = str(error).replace(repr(f"{host}:1"[:80]), repr(given[:80]))  # what stands there, not our port
        raise AddressError(told) from None


def as_toml(value: object) -> TomlValue:
    """The value as a TOML file holds it; the readers take it again."""
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Sequence):
        return [as_toml(item) for item in value]
    return str(value)
