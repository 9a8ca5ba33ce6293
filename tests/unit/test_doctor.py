"""Findings from evidence, without any network."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from peer.doctor import diagnose
from peer.evidence import Answer, Evidence, Multicast, Probe, Reached
from peer.findings import Finding, Level
from wire import PeerRecord
from wire.addresses import LocalAddress

if TYPE_CHECKING:
    from collections.abc import Iterable

ADDRESS = "192.168.1.7:7700"
ALICE = PeerRecord("alice", 0, ADDRESS, "fields", "c0ffee", keys=("0123abcd",))
BOB = replace(ALICE, peer="bob", address="192.168.1.9:7700")
WOODS = replace(BOB, swarm="woods")
ANYWHERE = "0.0.0.0"  # noqa: S104  (nothing is bound)
GIVE_IT = "if one runs here, give where it listens, with --listen HOST:PORT or --peer HOST:PORT"
OWN = f"problem: own address: {ADDRESS}, which others are told,"
AT_BOB = f"bob at {BOB.address}"


def at(interface: str, address: str) -> LocalAddress:
    found = ipaddress.ip_interface(address)
    return LocalAddress(interface, 1, found.ip, found.network.prefixlen)


LOOPBACK, CARD = at("lo", "127.0.0.1/8"), at("eth0", "192.168.1.7/24")


def found_at(record: PeerRecord, source: str = "--peer", **changes: object) -> Probe:
    probe = Probe(record.address, source, Reached.ANSWERED, answer=Answer(record))
    return replace(probe, **changes)


HEALTHY = Evidence(
    own=ALICE,
    listen_host=ANYWHERE,
    listen_error="",
    running=None,
    advertised=Probe(ADDRESS, "--advertise", Reached.ANSWERED, is_self=True),
    local=(LOOPBACK, CARD, at("eth0", "2001:db8::7/64")),
    multicast=Multicast(own=("192.168.1.7",), others=("192.168.1.9",)),
    unresolved=(),
    peers=(found_at(BOB, "zeroconf"),),
    timeout_s=5.0,
)


def findings(**changes: object) -> list[Finding]:
    return diagnose(replace(HEALTHY, **changes))


def not_ok(found: Iterable[Finding]) -> list[str]:
    """Level, finding and evidence; every one of them says what to do. Not that no agent here was asked."""
    found = [one for one in found if one.level is not Level.OK and one.finding != "no agent here"]
    assert all(one.remedy for one in found)
    return [f"{one.level}: {one.finding}: {one.evidence}" for one in found]


def test_a_healthy_machine() -> None:
    assert [one.to_line() for one in findings()] == [
        "ok       interfaces: eth0 192.168.1.7/24 2001:db8::7/64",
        "ok       port: 0.0.0.0 can be listened on",
        f"note     no agent here: no running agent of this machine was looked at -> {GIVE_IT}",
        "ok       own address: 192.168.1.7:7700, which others are told, leads here",
        "ok       multicast: own questions came back on 192.168.1.7; 192.168.1.9 heard",
        "ok       zeroconf: bob at 192.168.1.9:7700 answers and fits",
    ]
    here = replace(BOB, address="127.0.0.1:7702")
    local = findings(
        listen_host="127.0.0.1",
        local=(LOOPBACK,),
        multicast=Multicast(own=("127.0.0.1",)),
        advertised=found_at(replace(ALICE, address="127.0.0.1:7701"), is_self=True),
        peers=(found_at(here), found_at(ALICE, is_self=True)),
    )
    assert not_ok(local) == ["note: this machine only: listens on 127.0.0.1"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"local": (LOOPBACK,)}, "problem: no network: only 127.0.0.1/8"),
        ({"local": ()}, "problem: no network: only nothing"),
        (
            {"listen_error": "0.0.0.0:7700: address in use", "advertised": None},
            "problem: cannot listen: 0.0.0.0:7700: address in use",
        ),
        (
            {"own": replace(ALICE, keys=()), "peers": (found_at(replace(BOB, keys=())),)},
            "note: no key: whoever",
        ),
        (
            {
                "running": Answer(replace(ALICE, swarm="woods")),
                "peers": (found_at(replace(BOB, swarm="woods")),),
            },
            "problem: agent here differs: alice of swarm 'woods' answers at --listen: is of swarm 'woods'",
        ),
        ({"multicast": None}, "note: multicast: not tried"),
        ({"multicast": Multicast()}, "problem: multicast fails: no own question came back in 5 s"),
        ({"multicast": Multicast(error="UDP port 5353: no")}, "problem: multicast fails: UDP port 5353: no"),
        ({"multicast": Multicast(), "peers": (found_at(BOB),)}, "note: multicast fails"),
        (
            {"multicast": Multicast(own=("192.168.1.7",))},
            "note: multicast: own questions came back on 192.168.1.7, but no other",
        ),
        (
            {"multicast": Multicast(own=("127.0.0.1",), others=("192.168.1.9",))},
            "note: multicast: own questions came back on 127.0.0.1, not on 192.168.1.7",
        ),
        ({"peers": ()}, "problem: alone: no other agent of swarm 'fields' was found"),
        (
            {"unresolved": (Probe("agents:7700", "--dns agents", Reached.NO_NAME, "no name"),)},
            "problem: --dns agents: no such name: agents:7700 cannot be looked up (no name)",
        ),
        (
            {"peers": (found_at(BOB, clock_ahead_s=-31.0),)},
            "note: clocks differ: bob at 192.168.1.9:7700 is 31 s behind",
        ),
        (
            {"peers": (found_at(BOB, clock_ahead_s=99.5),)},
            "note: clocks differ: bob at 192.168.1.9:7700 is 100 s",
        ),
    ],
)
def test_one_thing_is_wrong(changes: dict[str, object], expected: str) -> None:
    found = not_ok(findings(**changes))
    assert len(found) == 1, found
    assert found[0].startswith(expected)


@pytest.mark.parametrize(
    ("told", "reached", "expected"),
    [
        (
            (ADDRESS, CARD),
            Reached.SILENT,
            f"{OWN} does",
        ),
        (("203.0.113.7:7700", CARD), Reached.SILENT, "note: own address: 203.0.113.7:7700"),
        (("203.0.113.7:7700", CARD), Reached.REFUSED, "problem: own address: 203.0.113.7:7700"),
        (("me.example:7700", CARD), Reached.NO_NAME, "problem: own address: me.example:7700"),
        (
            (ADDRESS, CARD),
            Reached.NO_AGENT,
            f"{OWN} leads",
        ),
        (
            (ADDRESS, CARD),
            Reached.ANSWERED,
            f"{OWN} leads",
        ),
        (
            ("127.0.0.1:7700", CARD),
            None,
            "problem: own address: others are told 127.0.0.1:7700",
        ),
        (
            ("172.18.0.1:7700", at("br-1f", "172.18.0.1/16")),
            None,
            "problem: container bridge: others",
        ),
        (
            ("100.64.0.7:7700", at("tailscale0", "100.64.0.7/32")),
            None,
            "note: vpn: others are",
        ),
        (
            ("172.17.0.2:7700", at("eth0", "172.17.0.2/16")),
            None,
            "problem: container: others are told",
        ),
    ],
)
def test_the_address_that_others_are_told(
    told: tuple[str, LocalAddress], reached: Reached | None, expected: str
) -> None:
    """`reached` None: it leads here, and yet others cannot use it."""
    address, local = told
    probe = Probe(address, "--advertise", reached or Reached.ANSWERED, is_self=reached is None)
    multicast = Multicast(own=(str(local.ip),), others=("192.168.1.9",))
    found = not_ok(findings(advertised=probe, local=(LOOPBACK, local), multicast=multicast))
    assert len(found) == 1, found
    assert found[0].startswith(expected)


def test_behind_nat_is_a_guess_from_where_the_others_are() -> None:
    far = replace(BOB, address="8.8.8.8:7700")
    named = replace(BOB, address="bob.example:7700")
    assert not_ok(findings(peers=(found_at(named), found_at(far)))) == [
        "note: behind NAT: others are told 192.168.1.7:7700, which leads nowhere outside this network"
    ]


@pytest.mark.parametrize(
    ("record", "says", "remedy"),
    [
        (
            replace(BOB, swarm="x"),
            f"problem: --peer: wrong swarm: {AT_BOB} is of swarm 'x'",
            "--swarm",
        ),
        (
            replace(BOB, protocol=9, oldest=8),
            "problem: --peer: future version: bob at 192.168.1.9:7700 reads protocol 8 to 9, this one 1 to 2",
            "same release",
        ),
        (
            replace(BOB, fingerprint="f00d"),
            f"problem: --peer: wrong fingerprint: {AT_BOB} has another model or task: fingerprint f00d",
            "--task",
        ),
        (
            replace(BOB, keys=()),
            f"problem: --peer: wrong key: {AT_BOB} has no key, here",
            "start it with",
        ),
        (
            replace(BOB, keys=("89abcdef",)),
            "problem: --peer: wrong key: bob at 192.168.1.9:7700 has key 89abcdef, here is 0123abcd",
            "same key file",
        ),
    ],
)
def test_a_peer_that_does_not_fit(record: PeerRecord, says: str, remedy: str) -> None:
    found = findings(peers=(found_at(record), found_at(BOB)))
    assert [one.startswith(says) for one in not_ok(found)] == [True]
    assert any(remedy in one.remedy for one in found)


def test_whoever_has_no_key_is_told_to_get_one() -> None:
    found = [one for one in findings(own=replace(ALICE, keys=())) if one.level is Level.PROBLEM]
    assert [one.finding for one in found] == ["zeroconf: wrong key", "alone"]
    assert "wants key 0123abcd, here is none" in found[0].evidence


def test_without_a_task_those_found_are_compared_with_each_other() -> None:
    """Healthy agents were called broken by whoever did not say what they learn."""
    three = [replace(BOB, peer=name, fingerprint="feed") for name in ("bob", "carol", "dave")]
    told = "note: no task: without --task agents are compared with each other only"
    assert not_ok(findings(peers=tuple(map(found_at, three)), knows_task=False)) == [told]
    odd = replace(BOB, peer="erin", fingerprint="f00d")
    found = not_ok(findings(peers=tuple(map(found_at, [odd, *three])), knows_task=False))
    assert found[0].startswith(
        "problem: --peer: wrong fingerprint: erin at 192.168.1.9:7700 has another model"
    )
    assert found[1:] == [told]
    nobody = not_ok(findings(peers=(), knows_task=False))
    assert nobody == ["problem: alone: no other agent of swarm 'fields' was found", told]
    here = Answer(replace(ALICE, fingerprint="feed"))
    assert not_ok(findings(running=here, peers=(found_at(three[0]),), knows_task=False)) == []


def test_those_that_were_found_and_do_not_fit_are_counted() -> None:
    others = tuple(found_at(replace(BOB, peer=name, fingerprint="f00d")) for name in ("bob", "carol", "dave"))
    assert not_ok(findings(peers=others))[-1] == "problem: alone: found 3 of swarm 'fields', none fits"


def test_another_swarm_on_the_same_network_is_no_problem() -> None:
    stranger = replace(BOB, peer="stranger", swarm="x")
    assert not_ok(findings(peers=(found_at(stranger, "zeroconf"), found_at(BOB)))) == [
        "note: zeroconf: wrong swarm: stranger at 192.168.1.9:7700 is of swarm 'x', not 'fields'"
    ]


@pytest.mark.parametrize("reached", [one for one in Reached if one is not Reached.ANSWERED])
def test_refused_and_silent_have_different_remedies(reached: Reached) -> None:
    failed = Probe("10.0.0.9:7700", "--peer", reached, "says the system")
    announced = replace(failed, source="zeroconf", answer=Answer(replace(BOB, address="10.0.0.9:7700")))
    found = [one for one in findings(peers=(failed, announced, found_at(BOB))) if one.level is Level.PROBLEM]
    assert [one.finding for one in found] == [f"--peer: {reached}", f"zeroconf: {reached}"]
    assert found[1].evidence == f"bob at {found[0].evidence}"
    assert found[0].evidence.endswith("(says the system)")
    assert ("within 5 s" in found[0].evidence) is (reached is Reached.SILENT)


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ((("bob",), ()), (("alice",), ("alice",)), []),
        ((("bob",), None), ((), None), ["note: one-way: bob is heard, it does not hear alice"]),
        (((), None), (("alice",), None), ["note: one-way: bob hears alice, but is not heard"]),
        ((None, ()), (None, ("alice",)), ["note: one-way: bob is heard, it does not hear alice"]),
        (((), None), (("carol",), None), ["note: no messages: bob and alice do not hear each other"]),
        ((("bob",), None), (None, None), []),
        ((None, None), (None, None), []),
    ],
)
def test_one_way_links(
    here: tuple[object, object], there: tuple[object, object], expected: list[str]
) -> None:
    """Who hears and who is heard, as both tell; where nobody tells, nothing is said."""
    peers = (replace(found_at(BOB), answer=Answer(BOB, *there)), found_at(ALICE, "--dns x", is_self=True))
    found = not_ok(findings(running=Answer(ALICE, *here), peers=peers))
    assert [one for one in found if "unheard" not in one and "deaf" not in one] == expected


def telling(name: str, hears: object, heard_by: object, address: str = "") -> Probe:
    """A peer that answers, and whom it names."""
    number = ord(name[0])
    record = replace(BOB, peer=name, address=address or f"192.168.1.{number}:7700")
    return replace(found_at(record), answer=Answer(record, hears, heard_by))


def of_links(*probes: Probe) -> list[str]:
    kinds = ("one-way", "unheard", "deaf", "no messages")
    return [one for one in not_ok(findings(peers=probes)) if one.split(": ")[1] in kinds]


def test_links_between_agents_elsewhere_are_compared_with_each_other() -> None:
    """Nobody runs at --listen: what two peers say of each other, and each alone, is enough."""
    a, b = telling("a", (), ()), telling("b", ("a",), ())
    cut = "note: one-way: b hears a, but a does not hear b"
    assert of_links(a, b) == [
        cut,
        "problem: unheard: nobody hears b at 192.168.1.98:7700",
        "problem: deaf: nobody is heard by a at 192.168.1.97:7700",
    ]
    assert of_links(b, a, b)[0] == cut, "a peer found twice is one"
    assert of_links(telling("a", ("b",), ("b",)), telling("b", ("a",), ("a",))) == []
    assert of_links(telling("a", None, ("b",)), telling("b", None, ("c",))) == [cut], "it is heard, it says"
    assert of_links(telling("a", None, None), telling("b", ("a",), None)) == [], (
        "nobody tells of the way back"
    )
    many = tuple(f"p{number}" for number in range(64))
    assert of_links(telling("a", many, None), telling("b", ("a",), None)) == [], "not all that it hears"
    assert of_links(telling("a", (*many, "b"), None), telling("b", ("a",), None)) == []
    stranger = replace(b, answer=Answer(replace(BOB, peer="b", swarm="woods"), ("a",), ()))
    assert of_links(telling("a", ("c",), ("c",)), stranger) == [], "of another swarm"


def test_a_peer_that_waits_alone_is_no_problem() -> None:
    assert of_links(telling("a", (), ())) == [
        "note: unheard: nobody hears a at 192.168.1.97:7700, the only one found",
        "note: deaf: nobody is heard by a at 192.168.1.97:7700, the only one found",
    ]
    announced = replace(found_at(replace(BOB, peer="b")), reached=Reached.REFUSED)
    assert "problem: deaf: nobody is heard by a at 192.168.1.97:7700" in of_links(
        telling("a", (), ()), announced
    )


def test_of_many_links_of_one_direction_some_are_told() -> None:
    names = [chr(ord("a") + number) for number in range(6)]
    probes = [telling(name, tuple(names[:number]), None) for number, name in enumerate(names)]
    told = [one for one in of_links(*probes) if "one-way" in one]
    assert len(told) == 9
    assert told[0] == "note: one-way: b hears a, but a does not hear b"
    assert told[-1] == "note: one-way: 7 more pairs of agents hear each other in one direction only"


@pytest.mark.parametrize("address", ["192.168.1.7:7701", "127.0.0.1:7701", "localhost:7701", "[::1]:7701"])
def test_a_peer_at_an_address_of_this_machine_runs_here(address: str) -> None:
    found = findings(peers=(telling("a", ("b",), ("b",), address), found_at(BOB)))
    assert f"ok       agent runs here: a at {address}, on this machine" in [one.to_line() for one in found]
    assert "no agent here" not in [one.finding for one in found]
    refused = found_at(replace(BOB, address=address), reached=Reached.REFUSED)
    assert "no agent here" in [one.finding for one in findings(peers=(refused, found_at(BOB)))]
    assert "no agent here" not in [one.finding for one in findings(running=Answer(ALICE))]


def test_an_agent_that_nobody_hears_or_that_hears_nobody() -> None:
    found = not_ok(findings(running=Answer(ALICE, (), ())))
    assert [one.split(":")[1] for one in found] == [" no messages", " unheard", " deaf"]
    assert findings(running=Answer(ALICE, ("bob",), ("bob",)))[1].to_line() == (
        "ok       agent runs here: alice of swarm 'fields' answers at --listen"
    )


def test_long_lists_are_cut() -> None:
    many = tuple(f"10.0.0.{number}" for number in range(30))
    found = findings(multicast=Multicast(own=("192.168.1.7",), others=many))
    assert any("10.0.0.7 and 22 more heard" in one.evidence for one in found)


def test_links_on_this_machine_only_need_no_card() -> None:
    assert not_ok(findings(listen_host="localhost", local=(LOOPBACK,)))[0].startswith(
        "note: this machine only"
    )
    six = findings(listen_host="::1", local=(LOOPBACK,))
    assert six[0].evidence == "only 127.0.0.1/8, enough for agents on this machine"
