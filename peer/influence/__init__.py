"""Which training samples help or hurt the swarm, and whether planted wrong labels are found by that."""

from peer.influence.harms import harms
from peer.influence.wrong_labels import area_under_curve, wrong_labels

__all__ = ["area_under_curve", "harms", "wrong_labels"]
