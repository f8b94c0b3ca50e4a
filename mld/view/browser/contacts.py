"""Which foot stands on the floor: what the viewer marks. A picture of it, not a measure; those are in `mld.metrics`."""

from __future__ import annotations

import numpy as np

from mld.motion.cleanup import contacts
from mld.motion.motion import Motion


def foot_contacts(motion: Motion) -> np.ndarray:
    """(T, 2) bool, left and right: the ankle or the toe is in contact (`mld.motion.cleanup.contacts`)."""
    return contacts.foot_contacts(motion).unflatten(1, (2, 2)).any(-1).numpy()
