"""What a campaign has to reach to be worth its name: faults, and branches of ours that are rarely taken."""

from __future__ import annotations

from peer.hunt import wiretap
from peer.hunt.hostile import IMPOSTOR, KINDS

COMPUTES = "computations take time"
TROUBLES = (
    *("clock jumps", "crash, back with state", "crash, back without state", "cut for a while"),
    *("cut for ever", "dies", "flaps", "joins late", "leaves for good", "leaves, comes back"),
    *("partition", "stands still", "loss", "delay", "duplicates", "reordering", "clogged"),
    *(f"liar: {kind}" for kind in (*KINDS, IMPOSTOR)),
    *wiretap.KINDS,
    *("full disk", "nearly full disk", "broken disk", "slow disk"),
)
EXPECTED = (
    *TROUBLES,
    *("epoch: founded", "epoch: heard of it", "epoch: joined", "epoch: membership", "epoch: nobody heard"),
    *("epoch: nobody pushes here", "epoch: precision"),
    *("LinkDeaf", "LinkHeard", "ListeningStarted", "PeerArrived", "PeerDeparted", "PeerQuarantined"),
    *("refused: unknown_sender", "refused: not_for_us", "refused: quarantined", "refused: epoch_rate"),
    *("refused: wrong_key", "refused: wrong_identity", "refused: unencrypted", "refused: replayed"),
    *("power failed", "file damaged", "file mended"),
    *("checkpoint kept", "checkpoint found", "checkpoint refused by the disk", "epoch refused by the disk"),
    *(f"ended at the disk: {one}" for one in ("read", "write", "sync", "replace", "remove", "sync_names")),
    *("messages lost", "messages replaced", "messages undeliverable", COMPUTES),
)
