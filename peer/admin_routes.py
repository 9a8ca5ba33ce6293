"""What an admin listener answers: path -> method -> route, composed of small groups. An edge: aiohttp.

A group is a mapping that some function makes of what it tells about, for instance `peer.admin_groups`:

    def health_routes() -> Routes:
        return {"/healthz": {"GET": Route(_healthz, public=True)}}

and a listener has what `compose(health_routes(), status_routes(...), ...)` says. Every route is described in
`peer/openapi.json`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from aiohttp import web

from peer.jsonable import jsonable
from peer.problem_details import PROBLEM_TYPE, RefusalError, problem_details

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from peer.errors import SettingError

BODY_BYTES_MAX: Final = 64 * 1024  # unless a route says otherwise; a change of faults has some hundred
ANSWER_S: Final = 10.0  # to answer a request that has come whole, unless its route says otherwise
BUSY_RETRY_S: Final = 1  # what whoever finds all places of a route taken is told to wait


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, its body read: no longer than its route allows."""

    request: web.BaseRequest
    body: bytes = b""
    named: Mapping[str, str] = field(default_factory=dict)  # what stands in the path for {name}


Handler = Callable[[Asked], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method of one path, and what that may cost.

    The handler raises `SettingError` for what the request has wrong (400), or `RefusalError` with another
    status; any other exception is a bug, and stops the agent.
    """

    handler: Handler
    public: bool = False  # answered without the token: what it tells must be no secret
    body_bytes_max: int = BODY_BYTES_MAX
    at_once_max: int | None = None  # requests from their first byte to their answer; None: as many as connect
    send_s: float | None = None  # for the body to come; None: what is left of the connection's time
    answer_s: float = ANSWER_S


Routes = Mapping[str, Mapping[str, Route]]  # "/v1/agents/{peer}" -> "GET" -> route; HEAD is as GET


def compose(*groups: Routes) -> dict[str, dict[str, Route]]:
    """All routes of these groups. It is a bug if two groups answer the same."""
    composed: dict[str, dict[str, Route]] = {}
    for group in groups:
        for path, routes in group.items():
            known = composed.setdefault(path, {})
            assert not known.keys() & routes.keys(), f"two groups answer {path}"
            known.update(routes)
    return composed


def find_route(routes: Routes, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
    """The route for this request, and what its path has for {name}; `raw_path` is as sent, without the query.

    A path as it stands goes before one with {name}, which is one segment, not empty. Raises `RefusalError`.
    """
    segments = [unquote(part) for part in raw_path.split("/")]
    fitting = [(path, named) for path in routes if (named := _named(path, segments)) is not None]
    if not fitting:
        shown = "/".join(segments)
        raise RefusalError(404, "path", shown, f"there are {', '.join(routes)}")
    path, named = min(fitting, key=lambda found: len(found[1]))
    methods = routes[path]
    route = methods.get("GET" if method == "HEAD" else method)
    if route is None:
        allowed = ", ".join(methods)
        raise RefusalError(405, "method", method, f"here there are {allowed}", headers={"Allow": allowed})
    return route, named


def _named(path: str, segments: list[str]) -> dict[str, str] | None:
    """What stands for the names in `path`; None if the segments are of another path."""
    parts = path.split("/")
    if len(parts) != len(segments):
        return None
    named = {}
    for part, segment in zip(parts, segments, strict=True):
        if part.startswith("{") and segment:
            named[part.strip("{}")] = segment
        elif part != segment:
            return None
    return named


async def read_body(request: web.BaseRequest, bytes_max: int) -> bytes:
    """The body. Raises `RefusalError` (413) as soon as it is longer, whatever its headers say."""
    body = bytearray()
    async for part in _parts(request, bytes_max):
        body += part
    return bytes(body)


async def discard_body(request: web.BaseRequest, bytes_max: int) -> None:
    """Let it come and keep nothing, so that its sender reads the answer instead of a broken connection."""
    async for _ in _parts(request, bytes_max):
        pass


async def _parts(request: web.BaseRequest, bytes_max: int) -> AsyncIterator[bytes]:
    too_long = RefusalError(413, "body", "too long", f"give at most {bytes_max} bytes")
    if (request.content_length or 0) > bytes_max:
        raise too_long
    came = 0
    async for part in request.content.iter_any():
        came += len(part)
        if came > bytes_max:
            raise too_long
        yield part


def json_answer(content: Mapping[str, object], status: int = 200) -> web.Response:
    """Numbers that JSON cannot hold are null."""
    text = json.dumps(jsonable(content), allow_nan=False)
    return web.Response(text=text + "\n", status=status, content_type="application/json")


def problem_answer(error: SettingError) -> web.Response:
    """What `peer.problem_details` makes of it."""
    details = problem_details(error)
    return web.Response(
        text=json.dumps(details) + "\n",
        status=error.status if isinstance(error, RefusalError) else 400,
        headers=error.headers if isinstance(error, RefusalError) else None,
        content_type=PROBLEM_TYPE,
    )
