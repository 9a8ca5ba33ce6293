"""The routes of the page and of what it asks for. An edge: aiohttp.

GET /                the page itself, also without the token: it holds nothing, and asks for the token
GET /assets/{name}   what it is made of, likewise
GET /v1/live         what it shows: how agents are, and of curves and events what is new
GET /v1/agents       {"agents": [...]}, each as /v1/status has one, and who is absent
GET /metrics         for Prometheus
GET /readyz          200 once all agents learn with others, 503 and why while they do not; without the token
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Protocol

from aiohttp import web

from peer.admin_routes import Asked, Route, Routes, json_answer
from peer.errors import SettingError
from peer.metrics import CONTENT_TYPE, exposition
from peer.page.assets import CHARTS, PAGE, asset, names
from peer.page.health import not_ready
from peer.problem_details import RefusalError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from prometheus_client.registry import Collector

    from peer.status import AgentStatus

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
ASSET_S: Final = 60.0  # the chart library over a slow link


class Shown(Protocol):
    """Agents of a program that people watch."""

    async def live(self, after_s: float, after_event: int) -> Mapping[str, object]:
        """As `peer.page.scene.Scene.live`, now."""

    async def statuses(self) -> tuple[list[AgentStatus], list[str]]:
        """Of those who are there, and the names of those who are not."""


def page_routes() -> Routes:
    """The page and its files."""

    async def page(asked: Asked) -> web.Response:
        return await _file(asked, PAGE)

    async def file(asked: Asked) -> web.Response:
        return await _file(asked, asked.named["name"])

    return {
        "/": {"GET": Route(page, public=True, answer_s=ASSET_S)},
        "/assets/{name}": {"GET": Route(file, public=True, answer_s=ASSET_S)},
    }


async def _file(asked: Asked, name: str) -> web.Response:
    found = await asyncio.to_thread(asset, name)
    if found is None:
        remedy = f"there are {', '.join(sorted(names()))}"
        if name == CHARTS:
            remedy = "charts need the Python package plotly beside this one: pip install plotly"
        raise RefusalError(404, "name", name, remedy)
    tag = f'"{found.version}"'
    headers = {**HEADERS, "ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if asked.request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    body = found.plain
    if found.compressed is not None and "gzip" in asked.request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        body = found.compressed
    return web.Response(body=body, content_type=found.content_type, charset="utf-8", headers=headers)


def shown_routes(shown: Shown, process: Collector | None) -> Routes:
    """What is watched; `process` tells metrics of the process."""

    async def live(asked: Asked) -> web.Response:
        query = asked.request.query
        after_s, after_event = _number(query, "after", -math.inf), _number(query, "event", 0.0)
        return json_answer(await shown.live(after_s, int(after_event)))

    async def agents(_asked: Asked) -> web.Response:
        there, absent = await shown.statuses()
        return json_answer({"agents": [status.to_dict() for status in there], "absent": absent})

    async def metrics(_asked: Asked) -> web.Response:
        there, _ = await shown.statuses()
        return web.Response(body=exposition(there, process), headers={"Content-Type": CONTENT_TYPE})

    async def ready(_asked: Asked) -> web.Response:
        reasons = not_ready(*await shown.statuses())
        return json_answer({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

    return {
        "/v1/live": {"GET": Route(live)},
        "/v1/agents": {"GET": Route(agents)},
        "/metrics": {"GET": Route(metrics)},
        "/readyz": {"GET": Route(ready, public=True)},
    }


def _number(query: Mapping[str, str], name: str, otherwise: float) -> float:
    """A number of the query. Raises `SettingError`."""
    text = query.get(name)
    if text is None:
        return otherwise
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or abs(value) > 1e15:
        raise SettingError(name, text[:40], "give a number, or leave it out for all there is")
    return value
