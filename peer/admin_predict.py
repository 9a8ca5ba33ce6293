"""The route that asks an agent's personal model. An edge: aiohttp, threads.

    POST /v1/predict    {"inputs": [[...], ...]}, or a .npy array

It answers {"outputs": [[...], ...], "classes": [...], "model": {"tick", "epoch", "peer"}}, or the outputs as
a .npy array if that is accepted, with the model in headers.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import numpy as np
from aiohttp import web

from peer.admin_input import JSON_TYPE, NPY_TYPE, accepts, media_type
from peer.admin_routes import Asked, Route, Routes
from peer.predicting import BODY_BYTES_MAX, json_content, read_array, read_json
from peer.problem_details import RefusalError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from peer.predicting import PersonalModel

PREDICTIONS_MAX: Final = 4  # at once: each may take a hundred megabytes, and a core from those that learn
PREDICTION_S: Final = 60.0  # to send the largest body on a slow line, and as long to answer


def predict_routes(personal: Callable[[], Awaitable[PersonalModel]]) -> Routes:
    """`personal` gives the model to ask; what takes long happens in a thread, beside those that learn."""

    async def post(asked: Asked) -> web.Response:
        kind = media_type(asked.request.headers.get("Content-Type"))
        if kind not in (JSON_TYPE, NPY_TYPE):
            remedy = f"send {JSON_TYPE}, or {NPY_TYPE} with an array as numpy.save writes it"
            allowed = {"Accept-Post": f"{JSON_TYPE}, {NPY_TYPE}"}
            raise RefusalError(415, "Content-Type", kind, remedy, headers=allowed)
        as_npy = accepts(asked.request.headers.get("Accept"), NPY_TYPE, otherwise=JSON_TYPE)
        model = await personal()
        nobody_waits = threading.Event()
        try:
            body = await asyncio.to_thread(
                _answer, model, asked.body, kind == NPY_TYPE, as_npy, nobody_waits.is_set
            )
        finally:
            nobody_waits.set()
        if as_npy:
            return web.Response(body=body, content_type=NPY_TYPE, headers=_headers(model))
        return web.Response(body=body, content_type=JSON_TYPE)

    route = Route(
        post,
        body_bytes_max=BODY_BYTES_MAX,
        at_once_max=PREDICTIONS_MAX,
        send_s=PREDICTION_S,
        answer_s=PREDICTION_S,
    )
    return {"/v1/predict": {"POST": route}}


def _answer(
    model: PersonalModel, body: bytes, is_npy: bool, as_npy: bool, stopped: Callable[[], bool]
) -> bytes:
    """The body of the answer. Raises `SettingError`."""
    inputs = (read_array if is_npy else read_json)(body, model.form)
    outputs = model.predict(inputs, stopped)
    if not as_npy:
        return json.dumps(json_content(model, outputs), allow_nan=False).encode() + b"\n"
    written = io.BytesIO()
    np.save(written, outputs.numpy(), allow_pickle=False)
    return written.getvalue()


def _headers(model: PersonalModel) -> dict[str, str]:
    """Which model it is, where the body cannot say it."""
    return {f"Hyperpush-{name.title()}": quote(str(value)) for name, value in model.told().items()}
