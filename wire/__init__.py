"""Messages, bytes, links, discovery: what the agents of a swarm say to each other, and how it gets there.

The names below are pure: values in, values out, no clock, no sockets. The edges, `wire.transport` and
those of discovery, are loaded when one of their names is first used, so that `import wire` stays light.
"""

import importlib
from typing import TYPE_CHECKING

from wire.bandwidth import BandwidthGate, parse_bandwidth
from wire.checks import U64_MAX
from wire.codec import (
    HEADER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PROTOCOL_OLDEST,
    PROTOCOL_VERSION,
    decode_push,
    encode_push,
    push_bytes_overhead_max,
)
from wire.counters import LinkCounters, TransportCounters
from wire.delays import Constant, Delay, Exponential, LogNormal, Uniform, parse_delay, parse_duration
from wire.errors import (
    AddressError,
    DecodeError,
    EncodeError,
    FaultPlanError,
    RejectReason,
    TransportError,
    WireError,
)
from wire.faults import FaultChange, FaultPlan, FaultWindow, LinkFaults, cut, link_rng, partition
from wire.link_models import LinkModel
from wire.live_faults import LiveFaults
from wire.messages import (
    ADDRESS_BYTES_MAX,
    ARRAYS_MAX,
    FINGERPRINT_BYTES_MAX,
    PEER_ID_BYTES_MAX,
    SWARM_BYTES_MAX,
    Array,
    Heard,
    Heartbeat,
    PeerId,
    Push,
    format_address,
    parse_address,
    peer_mark,
)
from wire.records import PEERS_KNOWN_MAX, PeerRecord
from wire.slots import Outbox

if TYPE_CHECKING:
    from wire.dns_discovery import DnsDiscovery
    from wire.seed_discovery import SeedDiscovery
    from wire.transport import Transport, WebSocketTransport
    from wire.zeroconf_discovery import ZeroconfDiscovery

__all__ = [
    "ADDRESS_BYTES_MAX",
    "ARRAYS_MAX",
    "FINGERPRINT_BYTES_MAX",
    "HEADER_BYTES_MAX",
    "MESSAGE_BYTES_MAX",
    "PEERS_KNOWN_MAX",
    "PEER_ID_BYTES_MAX",
    "PROTOCOL_OLDEST",
    "PROTOCOL_VERSION",
    "SWARM_BYTES_MAX",
    "U64_MAX",
    "AddressError",
    "Array",
    "BandwidthGate",
    "Constant",
    "DecodeError",
    "Delay",
    "DnsDiscovery",
    "EncodeError",
    "Exponential",
    "FaultChange",
    "FaultPlan",
    "FaultPlanError",
    "FaultWindow",
    "Heard",
    "Heartbeat",
    "LinkCounters",
    "LinkFaults",
    "LinkModel",
    "LiveFaults",
    "LogNormal",
    "Outbox",
    "PeerId",
    "PeerRecord",
    "Push",
    "RejectReason",
    "SeedDiscovery",
    "Transport",
    "TransportCounters",
    "TransportError",
    "Uniform",
    "WebSocketTransport",
    "WireError",
    "ZeroconfDiscovery",
    "cut",
    "decode_push",
    "encode_push",
    "format_address",
    "link_rng",
    "parse_address",
    "parse_bandwidth",
    "parse_delay",
    "parse_duration",
    "partition",
    "peer_mark",
    "push_bytes_overhead_max",
]

_EDGES = {
    "DnsDiscovery": "wire.dns_discovery",
    "SeedDiscovery": "wire.seed_discovery",
    "Transport": "wire.transport",
    "WebSocketTransport": "wire.transport",
    "ZeroconfDiscovery": "wire.zeroconf_discovery",
}


def __getattr__(name: str) -> object:
    """Load an edge when one of its names is first used (PEP 562)."""
    if name not in _EDGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_EDGES[name]), name)
    globals()[name] = value
    return value
