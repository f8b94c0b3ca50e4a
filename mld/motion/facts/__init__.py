"""What a motion shows, measured on its joints: how far, which way, which limb, how often, in which order."""

from mld.motion.facts.event import Event
from mld.motion.facts.facts import Facts

__all__ = ["Event", "Facts"]
