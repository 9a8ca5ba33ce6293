"""Changes of inputs: of bytes, and of the values that they stand for. All randomness comes in as a stream."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

INTEGERS = (
    *(0, 1, -1, 2, 3, 7, 8, 255, 256, 2**15, 2**16 - 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32),
    *(2**20, 2**20 + 1, 2**48 - 1, 2**48, 2**48 + 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63)),
    *(10**300, 10**400),
)
FLOATS = (
    *(0.0, -0.0, 0.5, 1.0, -1.0, 1e-308, 5e-324, 1e38, 3.5e38, 1e300, 1.7e308),
    *(math.nan, math.inf, -math.inf),
)
TEXTS = (
    *("", "a", "\0", "\n", "\x1b[2J", "\u202e", "\ud800", "é" * 40, "x" * 63, "x" * 64, "x" * 65, "x" * 300),
    *("192.0.2.7:7700", "[::1]:1", "[fe80::1%25eth0]:9", "a..b:1", "a:0", "a:65536", "[:::]:1", ":1"),
    *("20ms", "lognormal:50ms:0.5", "256kbit", "1e999s", "nan", "inf", "-1", "1/0", "9" * 400, "<f4", "<f8"),
)
BYTES = (b"", b"\0", b"\xff" * 8, bytes(16), b"\x80" * 17, b"x" * 512)
WORDS = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80", b"\xc1", b"\xd9", b"\xdf\xff\xff\xff\xff", b"\x93")
DEEP = 200  # levels of a nest
LONG = 300  # copies of one element: above most caps of lists
ROUNDS = (1, 1, 1, 2, 4)  # changes at once: more of them rarely leave anything that is read to its end


def scalar(rng: random.Random) -> Any:
    """A value that is often forgotten."""
    kinds: Sequence[Any] = (INTEGERS, FLOATS, TEXTS, BYTES, (None, True, False), ([], {}, [[]]))
    return copy.copy(rng.choice(rng.choice(kinds)))


def change_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """`data`, changed in a few places; parts may come from `other`."""
    changed = bytearray(data)
    for _ in range(rng.choice(ROUNDS)):
        at = rng.randint(0, len(changed))
        end = min(len(changed), at + rng.choice((1, 2, 4, 8, 64, 1024)))
        match rng.randrange(20):
            case 0 | 8 | 9 | 10 if changed:
                changed[at % len(changed)] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = rng.randbytes(end - at)
            case 2:
                del changed[at:end]
            case 3:
                changed[at:at] = changed[at:end] * rng.randint(1, 3)
            case 4:
                start = rng.randint(0, len(other))
                changed[at:end] = other[start : start + rng.choice((1, 8, 64, 1024))]
            case 5:
                changed[at : at + 4] = rng.choice(WORDS)
            case 6:
                del changed[at:]
            case 7:
                depth = rng.choice((8, DEEP, rng.randint(900, 1_000)))
                changed[at:at] = b"[" * depth + b"]" * depth
            case _:
                changed[at : at + 8] = rng.choice(INTEGERS[:27]).to_bytes(9, "little", signed=True)[:8]
    return bytes(changed)


def change_tree(rng: random.Random, tree: Any, other: Any) -> Any:
    """A copy of `tree`, changed in a few nodes; parts may come from `other`."""
    root = [copy.deepcopy(tree)]
    for _ in range(rng.choice(ROUNDS)):
        places = _places(root)
        parent, key = rng.choice(places)
        _change_node(rng, parent, key, _any_node(rng, other))
    return root[0]


def _change_node(rng: random.Random, parent: Any, key: Any, foreign: Any) -> None:
    node = parent[key]
    match rng.randrange(9):
        case 0 if isinstance(parent, dict):
            del parent[key]
        case 0 if len(parent) > 1:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(node))
        case 1:
            parent[rng.choice((scalar(rng), str(key) + "x")) if rng.random() < 0.1 else "x"] = node
        case 2:
            parent[key] = _nearby(rng, node)
        case 3:
            parent[key] = copy.deepcopy(foreign)
        case 4 if isinstance(parent, list):
            other = rng.randrange(len(parent))
            parent[key], parent[other] = parent[other], parent[key]
        case 5 if isinstance(parent, list):
            parent[key : key + 1] = [copy.deepcopy(node) for _ in range(rng.choice((0, 2, 9, LONG)))]
            if not parent:
                parent.append(node)
        case 6 if rng.random() < 0.1:
            for _ in range(rng.choice((1, 2, DEEP))):
                node = [node]
            parent[key] = node
        case _:
            parent[key] = scalar(rng)


def _nearby(rng: random.Random, node: Any) -> Any:
    """Another value of the same type."""
    match node:
        case bool():
            return not node
        case int():
            return rng.choice((node + 1, node - 1, -node, node * 2, rng.choice(INTEGERS)))
        case float():
            return rng.choice((-node, node * 1e6, node / 1e6, rng.choice(FLOATS)))
        case str():
            at = rng.randint(0, len(node))
            return rng.choice((node[:at], node[:at] + rng.choice(TEXTS) + node[at:], rng.choice(TEXTS)))
        case bytes():
            return change_bytes(rng, node, rng.choice(BYTES))
        case list() if node:
            return node[: rng.randrange(len(node))]
        case _:
            return scalar(rng)


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    """Every node as (parent, key); without recursion, since trees may be deep."""
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [root]
    while waiting:
        parent = waiting.pop()
        for key in range(len(parent)) if isinstance(parent, list) else list(parent):
            places.append((parent, key))
            if isinstance(parent[key], list | dict):
                waiting.append(parent[key])
    return places


def _any_node(rng: random.Random, tree: Any) -> Any:
    parent, key = rng.choice(_places([tree]))
    return parent[key]
