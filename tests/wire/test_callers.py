import pytest

from wire.callers import (
    AWAY_S_MAX,
    AWAY_S_MIN,
    CALLER_SOCKETS_MAX,
    CALLERS_AWAY_MAX,
    LOOPBACK_SOCKETS_MAX,
    SOCKETS_MAX,
    Callers,
    Refusal,
    caller_of,
)


@pytest.mark.parametrize(
    ("host", "caller"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("127.3.2.1", "loopback"),
        ("::1", "loopback"),
        ("", ""),
    ],
)
def test_whose_sockets_are_counted_together(host: str, caller: str) -> None:
    assert caller_of(host) == caller


@pytest.mark.parametrize(
    ("host", "share"), [("192.0.2.7", CALLER_SOCKETS_MAX), ("::1", LOOPBACK_SOCKETS_MAX)]
)
def test_each_caller_has_a_share_and_all_together_a_limit(host: str, share: int) -> None:
    callers = Callers()
    assert [callers.enter(host, 0.0) for _ in range(share + 1)] == [*[None] * share, Refusal.CALLER_SOCKETS]
    callers.leave(host)
    assert callers.enter(host, 0.0) is None, "the place is free again"
    others = [callers.enter(f"198.51.100.{index % 256}", 0.0) for index in range(SOCKETS_MAX)]
    assert others.count(None) == SOCKETS_MAX - share
    assert others[-1] is Refusal.SOCKETS
    for index in range(SOCKETS_MAX - share):
        callers.leave(f"198.51.100.{index % 256}")
    for _ in range(share):
        callers.leave(host)
    assert (callers._open, callers._total) == ({}, 0), "nothing is remembered of who left"


def test_who_is_sent_away_waits_twice_as_long_each_time_and_is_forgiven() -> None:
    callers, now, waits = Callers(), 0.0, []
    for _ in range(11):
        callers.send_away("192.0.2.7", now)
        assert callers.enter("192.0.2.7", now) is Refusal.SENT_AWAY
        assert callers.enter("192.0.2.8", now) is None
        wait_s = callers._away["192.0.2.7"].until - now
        waits.append(wait_s)
        now += wait_s
        assert callers.enter("192.0.2.7", now) is None
    assert waits == [min(AWAY_S_MIN * 2**index, AWAY_S_MAX) for index in range(11)]
    callers.send_away("192.0.2.7", now + AWAY_S_MAX)
    assert callers._away["192.0.2.7"].for_s == AWAY_S_MIN


def test_this_machine_is_not_sent_away_and_memory_of_others_is_bounded() -> None:
    callers = Callers()
    callers.send_away("127.0.0.1", 0.0)
    assert callers.enter("127.0.0.1", 0.0) is None
    for index in range(CALLERS_AWAY_MAX + 1):
        callers.send_away(f"10.0.{index // 256}.{index % 256}", 0.0)
    assert len(callers._away) == CALLERS_AWAY_MAX
    assert callers.enter("10.0.0.0", 0.0) is None, "the first is forgotten"
    assert callers.enter("10.0.0.1", 0.0) is Refusal.SENT_AWAY
