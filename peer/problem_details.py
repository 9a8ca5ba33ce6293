"""Refusals over HTTP as problem details (RFC 9457), written and read. Pure.

A refusal is an object of the type `application/problem+json`:

    {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "drop: 2 is not possible; ...",
     "field": "drop", "value": 2, "remedy": "give a number from 0 to 1: 0.3 is 30 %"}

`title` is what HTTP calls the status; `field`, `value` and `remedy` are those of `peer.errors.SettingError`,
the value cut short where it is long.
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from peer.errors import SettingError
from peer.fault_words import brief
from peer.printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM_TYPE: Final = "application/problem+json"


class RefusalError(SettingError):
    """A `SettingError` with the status of HTTP that says whose fault it is, and when to try again.

    `headers` are what else the answer carries, such as `Allow`.
    """

    def __init__(
        self,
        status: int,
        field: str,
        value: object,
        remedy: str,
        *,
        retry_after_s: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(field, value, remedy)
        self.status = status
        self.headers = dict(headers or {})
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)


def problem_details(error: SettingError) -> dict[str, object]:
    """The object that tells of this refusal; 400 where it has no status of its own."""
    status = error.status if isinstance(error, RefusalError) else 400
    value = error.value
    finite = isinstance(value, float) and math.isfinite(value)
    plain = value is None or finite or isinstance(value, int | str)
    told = brief(value if plain else repr(value))
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": str(SettingError(error.field, told, error.remedy)),
        "field": error.field,
        "value": told,
        "remedy": error.remedy,
    }


def read_problem(answer: Mapping[str, object]) -> SettingError | None:
    """The refusal that an agent has answered with, fit to be printed; None if it is none."""
    field, remedy = answer.get("field"), answer.get("remedy")
    if not isinstance(field, str) or not isinstance(remedy, str):
        return None
    return SettingError(printable(field), answer.get("value"), printable(remedy))
