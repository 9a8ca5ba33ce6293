"""Every way in which wire/ says no, split by whose fault it is.

    Exception
    └── WireError
        ├── DecodeError                 theirs: bytes from the network that are no message. Counted, dropped
        ├── EncodeError (ValueError)    ours: a message the other side would have to refuse
        ├── FaultPlanError (ValueError) the user's: a fault plan that means nothing
        ├── AddressError (ValueError)   the user's: text that is no HOST:PORT
        ├── KeyFileError (ValueError)   the user's: a file of keys or fingerprints that cannot be read
        ├── CounterError                ours: more frames sealed in one start than can be told apart
        └── TransportError              the machine's: a port that cannot be had, a listener that went away

Anything else that leaves wire/ is a bug and must stop the program.
"""

import enum


class WireError(Exception):
    """Root of every foreseen failure in wire/."""


class RejectReason(enum.StrEnum):
    """Why a frame from the network was dropped; the value is the name of its counter."""

    MALFORMED = "malformed"
    OVERSIZED = "oversized"
    FUTURE_VERSION = "future_version"
    WRONG_SWARM = "wrong_swarm"
    WRONG_FINGERPRINT = "wrong_fingerprint"
    WRONG_SHAPE = "wrong_shape"
    WRONG_DTYPE = "wrong_dtype"
    NON_FINITE = "non_finite"
    UNKNOWN_SENDER = "unknown_sender"
    OWN_MESSAGE = "own_message"
    EPOCH_JUMP = "epoch_jump"
    EPOCH_RATE = "epoch_rate"
    NOT_FOR_US = "not_for_us"
    QUARANTINED = "quarantined"
    UNENCRYPTED = "unencrypted"
    WRONG_KEY = "wrong_key"
    WRONG_IDENTITY = "wrong_identity"
    NOT_ALLOWED = "not_allowed"
    REPLAYED = "replayed"


class DecodeError(WireError):
    """Bytes from the network that are refused: the sender's fault, never a reason to stop.

    `reason` is the counter to raise; the message names the field and the value.
    """

    def __init__(self, reason: RejectReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EncodeError(WireError, ValueError):
    """A message no receiver would accept: the caller's fault. Names field and value."""


class FaultPlanError(WireError, ValueError):
    """A fault plan that cannot be meant: the user's fault. Names field, value and remedy."""


class AddressError(WireError, ValueError):
    """Text that is no HOST:PORT: the user's fault. Names the text and the remedy."""


class KeyFileError(WireError, ValueError):
    """Keys or fingerprints that cannot be meant: the user's fault. Names line and remedy, never a secret."""


class CounterError(WireError, OverflowError):
    """No counter is left to seal with: the agent has to be started again."""


class TransportError(WireError):
    """The machine refuses what the transport needs. Names host, port and remedy."""
