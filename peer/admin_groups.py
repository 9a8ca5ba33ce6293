"""The groups of routes that every agent has: health, description, status, faults. An edge: aiohttp.

GET    /healthz           200 {"ok": true}, or 503 and "problems" of agents; also without a token
GET    /v1/openapi.json   the description of all that can be asked, also without a token
GET    /v1/status         what `peer.status.AgentStatus` holds
GET    /v1/faults         {"elapsed_s", "plan", "live"}, as `wire.LiveFaults.to_dict` writes them
PUT    /v1/faults         {"to": peer or null, "faults": {"drop": 0.4} or null, "for_s": 30 or null}
DELETE /v1/faults?to=     clears what was set, for one peer or for all; as GET, and "cleared": how many
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING

from peer.admin_input import read_fault_request, read_peer
from peer.admin_routes import Asked, Route, Routes, json_answer
from peer.fault_words import cleared_on_links, set_on_links
from peer.problem_details import RefusalError
from wire import FaultPlanError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import web

    from wire import LiveFaults


def health_routes(problems: Callable[[], Awaitable[Sequence[str]]]) -> Routes:
    """Whether it answers, and agents work; `problems` must tell no secret."""

    async def get(_asked: Asked) -> web.Response:
        found = await problems()
        return json_answer({"ok": not found, "problems": found}, 503 if found else 200)

    return {"/healthz": {"GET": Route(get, public=True)}}


def description() -> Mapping[str, object]:
    """All that admin listeners can be asked, as OpenAPI 3.1 describes it."""
    text = resources.files("peer").joinpath("openapi.json").read_text(encoding="utf-8")
    found: dict[str, object] = json.loads(text)
    return found


def description_routes() -> Routes:
    """What there is to ask, for programs; the same for every listener."""
    described = description()

    async def get(_asked: Asked) -> web.Response:
        return json_answer(described)

    return {"/v1/openapi.json": {"GET": Route(get, public=True)}}


def status_routes(status: Callable[[], Mapping[str, object]]) -> Routes:
    """How the agent is."""

    async def get(_asked: Asked) -> web.Response:
        return json_answer(status())

    return {"/v1/status": {"GET": Route(get)}}


def fault_routes(
    faults: LiveFaults, elapsed: Callable[[], float], say: Callable[[str], None] = lambda _: None
) -> Routes:
    """What its links do to its messages; `elapsed` is the time of the fault plan, in seconds.

    `say` is told what somebody changes, in words.
    """

    def told(**more: object) -> web.Response:
        return json_answer({"elapsed_s": elapsed(), **faults.to_dict(), **more})

    async def get(_asked: Asked) -> web.Response:
        return told()

    async def put(asked: Asked) -> web.Response:
        change = read_fault_request(asked.body)
        try:
            faults.set(change.to, change.faults, elapsed(), change.duration_s)
        except FaultPlanError as error:
            raise RefusalError(409, "faults", None, str(error)) from None
        say(set_on_links(None, change.to, change.faults, change.duration_s))
        return told()

    async def delete(asked: Asked) -> web.Response:
        to = read_peer(asked.request.query.get("to"))
        cleared = faults.clear(to)
        if cleared:
            say(cleared_on_links(None, to))
        return told(cleared=cleared)

    return {"/v1/faults": {"GET": Route(get), "PUT": Route(put), "DELETE": Route(delete)}}
