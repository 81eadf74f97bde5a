"""Relays: an optional part between backbone and neck that maps `Features` to `Features` of the same levels.

A relay is made with `levels` (those of the backbone) and has `inputs` and `levels`, as a neck has. What it puts into
`Features.auxiliary` comes out of the network beside the head's raw output, by names that the head does not use. One
that learns from the truth has `loss(raw, targets, content, shapes) -> LossTerms` (see `Detector.loss`), and, where the
recipe may set gains, `GAINS` and `set_gains`.
"""

from finespot.nn.relays.sarl import SARL
from finespot.nn.relays.seeker import Seeker

__all__ = ["SARL", "Seeker"]
