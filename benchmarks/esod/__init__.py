"""What ESOD on windows costs, and what it finds, beside the dense network."""

from __future__ import annotations

from finespot import zoo


def dense_host(model: str, classes: int) -> zoo.Detector:
    """The dense network without a seeker that a network on windows is compared with."""
    if zoo.architecture(model).family == "esod":
        return zoo.build(zoo.architecture(model, classes=classes, windows="none", relay=None))
    return zoo.build(zoo.architecture(model.removeprefix("esod-"), classes=classes))
