"""Weight files: a network with everything needed to build and use it again."""

from finespot.weights.card import CHANNELS, FORMAT_VERSION, LARGEST_SIDE, Card, MetricRecord, ObjectScale
from finespot.weights.catalog import bundled, resolve
from finespot.weights.file import build, load, naming, read_card, refuse_own_parts, save
from finespot.weights.transfer import TransferReport, transfer

__all__ = [
    "CHANNELS",
    "FORMAT_VERSION",
    "LARGEST_SIDE",
    "Card",
    "MetricRecord",
    "ObjectScale",
    "TransferReport",
    "build",
    "bundled",
    "load",
    "naming",
    "read_card",
    "refuse_own_parts",
    "resolve",
    "save",
    "transfer",
]
