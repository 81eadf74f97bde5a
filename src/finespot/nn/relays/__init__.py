"""Relays: an optional part between backbone and neck that maps `Features` to `Features` of the same levels.

A relay is made with `levels` (those of the backbone) and has `inputs` and `levels`, as a neck has.
"""

from finespot.nn.relays.sarl import SARL

__all__ = ["SARL"]
