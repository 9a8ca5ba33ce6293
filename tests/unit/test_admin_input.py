"""What reaches the admin listener, read or refused. Thrown at in tests/properties/test_admin_input.py."""

from __future__ import annotations

import math

import pytest

from peer.admin_input import (
    FaultRequest,
    bearer_matches,
    check_token,
    read_agent_action,
    read_fault_request,
    read_peer,
)
from peer.errors import SettingError
from wire import Constant, FaultChange

TOKEN = "0123456789abcdef"  # noqa: S105  (of these tests only)


def test_requests() -> None:
    assert read_fault_request(b'{"faults": null}') == FaultRequest(None, None, None)
    body = (
        b'{"to": "b", "faults": {"drop": 0.4, "delay_s": "20ms", "bandwidth_bits_per_s": null}, "for_s": 30}'
    )
    change = FaultChange(0.4, Constant(0.02), bandwidth_bits_per_s=math.inf)
    assert read_fault_request(body) == FaultRequest("b", change, 30.0)
    assert read_fault_request(b'{"to": null, "faults": {"reorder": 1}, "for_s": "2m"}').duration_s == 120.0
    assert read_peer(None) is None
    assert read_peer("b") == "b"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "body: b''"),
        (b"\xff", "body: b'\\xff'"),
        (b"[" * 60_000, "body: b'[[["),
        (b"[]", "body: [] is not possible; give an object"),
        (b'{"faults": null, "from": 1}', "from: 1 is not possible; there are only to, faults, for_s"),
        (b"{}", "faults: None is not possible; give an object such as"),
        (b'{"faults": {}}', "faults: {}"),
        (b'{"faults": 0.4}', "faults: 0.4"),
        (b'{"faults": {"drop": NaN}}', "faults.drop: nan is not possible; give a number from 0 to 1"),
        (b'{"faults": {"drop": 1' + b"0" * 4000 + b"}}", "faults.drop: '1000"),
        (b'{"faults": {"dorp": 1}}', "faults.dorp: 1 is not possible; there are only drop, delay_s"),
        (b'{"faults": {"' + b"x" * 500 + b'": 1}}', "faults.'" + "x" * 79 + "...: 1 is not"),
        (b'{"faults": null, "to": ""}', "to: '' is not possible; give the name of a peer, which must not"),
        (b'{"faults": null, "to": "\\ud800"}', "to: '\\ud800'"),
        (b'{"faults": null, "to": ["b"]}', "to: ['b']"),
        (b'{"faults": null, "for_s": 0}', "for_s: 0 is not possible; write 500ms"),
        (b'{"faults": null, "for_s": Infinity}', "for_s: inf"),
        (b'{"faults": null, "for_s": true}', "for_s: True"),
    ],
)
def test_a_bad_request_is_named_briefly(body: bytes, told: str) -> None:
    with pytest.raises(SettingError) as raised:
        read_fault_request(body)
    assert str(raised.value).startswith(told)
    assert len(str(raised.value)) < 400


def test_whose_links_is_said_where_there_are_many() -> None:
    found = read_fault_request(b'{"from": "a", "faults": null}', with_source=True)
    assert found == FaultRequest(None, None, None, source="a")
    assert read_fault_request(b'{"faults": null}', with_source=True).source is None
    with pytest.raises(SettingError, match="from: 3 is not possible; give the name of a peer"):
        read_fault_request(b'{"from": 3, "faults": null}', with_source=True)


def test_what_is_done_to_an_agent() -> None:
    assert read_agent_action(b"", takes_duration=False) is None
    assert read_agent_action(b"{}", takes_duration=False) is None
    assert read_agent_action(b'{"for_s": "2m"}', takes_duration=True) == 120.0
    for body, takes_duration, told in (
        (b'{"for_s": 5}', False, "for_s: 5 is not possible; leave it out"),
        (b"", True, "for_s: None is not possible; say for how long"),
        (b'{"for_s": 0}', True, "for_s: 0 is not possible"),
        (b'{"for_s": 1, "now": 1}', True, "now: 1 is not possible; there are only for_s"),
    ):
        with pytest.raises(SettingError) as raised:
            read_agent_action(body, takes_duration=takes_duration)
        assert str(raised.value).startswith(told)


def test_tokens() -> None:
    assert check_token(f"  {TOKEN}\n") == TOKEN
    for bad in ("", TOKEN[:-1], "x" * 257, f"{TOKEN}\n{TOKEN}", f"{TOKEN} x", "ü" * 20):
        with pytest.raises(
            SettingError, match=r"token: '\d+ characters' is not possible; give 16 to 256"
        ) as raised:
            check_token(bad)
        assert TOKEN[:8] not in str(raised.value)
    assert bearer_matches(f"Bearer {TOKEN}", TOKEN)
    assert bearer_matches(f"bearer  {TOKEN} ", TOKEN)
    for wrong in (None, "", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \ud800\udcff"):
        assert not bearer_matches(wrong, TOKEN)
