"""Text of somebody else, for a terminal. Pure."""

from __future__ import annotations


def printable(text: object) -> str:
    """Without control characters, which could move the cursor or colour what follows."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))
