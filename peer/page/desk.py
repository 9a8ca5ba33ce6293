"""What people may do to the agents of a program, one page for all of them. An edge: aiohttp.

GET    /v1/faults                    {"elapsed_s", "agents": {name: as for one agent}}
PUT    /v1/faults                    {"from": name or null, "to": ..., "faults": ..., "for_s": ...}
DELETE /v1/faults?from=&to=          as GET, and "cleared": how many
POST   /v1/agents/{name}/{action}    kill, leave, restart; pause: {"for_s": 5}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from peer.admin_input import read_agent_action, read_fault_request, read_peer
from peer.admin_routes import Asked, Route, Routes, json_answer
from peer.fault_words import cleared_on_links, set_on_links
from peer.problem_details import RefusalError
from peer.scenario import Kill, Leave, Pause, Restart
from peer.seats import hindrance
from wire import FaultPlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp import web

    from peer.admin_input import FaultRequest
    from peer.scenario import AnyChange
    from wire import PeerId

    TellFaults = Callable[[str, Mapping[PeerId, Sequence[object]]], None]

ACTIONS: Final = ("pause", "leave", "kill", "restart")


class Desk(Protocol):
    """Agents to which something may be done. `agent` is always one of `names`."""

    def elapsed_s(self) -> float:
        """The time of faults and changes."""

    def names(self) -> Mapping[str, PeerId]:
        """What agents are called when something is done to them, and in the swarm, now."""

    def is_there(self, agent: str) -> bool:
        """Whether it is."""

    async def told_faults(self, agents: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Of each of these, as `wire.LiveFaults.to_dict` writes them."""

    async def set_faults(self, agents: Sequence[str], change: FaultRequest) -> None:
        """On the links from these. Raises `FaultPlanError`."""

    async def clear_faults(self, agents: Sequence[str], to: PeerId | None) -> int:
        """As they were at first; how many changes were taken back."""

    def tell_faults(self, what: str, live: Mapping[PeerId, Sequence[object]]) -> None:
        """What somebody did to links, in words, and all that is set now on those from these agents."""

    def carry_out(self, change: AnyChange[str]) -> None:
        """Do this soon."""


def desk_routes(desk: Desk) -> Routes:
    """All that may be done."""
    return {**_fault_routes(desk), **_action_routes(desk)}


def _fault_routes(desk: Desk) -> Routes:
    async def told(**more: object) -> web.Response:
        agents = await desk.told_faults(list(desk.names()))
        return json_answer({"elapsed_s": desk.elapsed_s(), "agents": agents, **more})

    async def tell(sources: Sequence[str], what: str) -> None:
        faults, names = await desk.told_faults(sources), desk.names()
        desk.tell_faults(what, {names[name]: told["live"] for name, told in faults.items()})

    def those(name: PeerId | None) -> Sequence[str]:
        return list(desk.names()) if name is None else [_agent(desk, name)]

    async def get(_asked: Asked) -> web.Response:
        return await told()

    async def put(asked: Asked) -> web.Response:
        change = read_fault_request(asked.body, with_source=True)
        sources = those(change.source)
        try:
            await desk.set_faults(sources, change)
        except FaultPlanError as error:
            raise RefusalError(409, "faults", None, str(error)) from None
        await tell(sources, set_on_links(change.source, change.to, change.faults, change.duration_s))
        return await told()

    async def delete(asked: Asked) -> web.Response:
        source, to = (read_peer(asked.request.query.get(name), name) for name in ("from", "to"))
        sources = those(source)
        cleared = await desk.clear_faults(sources, to)
        if cleared:
            await tell(sources, cleared_on_links(source, to))
        return await told(cleared=cleared)

    return {"/v1/faults": {"GET": Route(get), "PUT": Route(put), "DELETE": Route(delete)}}


def _action_routes(desk: Desk) -> Routes:
    def of(action: str) -> Route:
        async def post(asked: Asked) -> web.Response:
            agent = _agent(desk, asked.named["name"])
            change = _change(action, agent, round(desk.elapsed_s(), 1), asked.body)
            reason = hindrance(change, is_there=desk.is_there(agent))
            if reason is not None:
                raise RefusalError(409, "agent", agent, reason)
            desk.carry_out(change)
            return json_answer({"agent": agent, "asked": action}, 202)

        return Route(post)

    return {f"/v1/agents/{{name}}/{action}": {"POST": of(action)} for action in ACTIONS}


def _agent(desk: Desk, name: str) -> str:
    """By either of its names. Raises `RefusalError`."""
    names = desk.names()
    for agent, peer in names.items():
        if name in (agent, peer):
            return agent
    raise RefusalError(404, "agent", name, f"there are {', '.join(names)}")


def _change(action: str, agent: str, now_s: float, body: bytes) -> AnyChange[str]:
    """What is to be done now. Raises `SettingError`."""
    duration_s = read_agent_action(body, takes_duration=action == "pause")
    if duration_s is not None:
        return Pause(agent, now_s, duration_s)
    if action == "restart":
        return Restart(agent, now_s)
    return Kill(agent, now_s) if action == "kill" else Leave(agent, now_s)
