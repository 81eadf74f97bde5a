"""Weight files: a network with everything needed to build and use it again."""

from finespot.weights.card import CHANNELS, FORMAT_VERSION, LARGEST_SIDE, Card, MetricRecord, ObjectScale
from finespot.weights.catalog import bundled, resolve
from finespot.weights.file import build, load, naming, read_card, refuse_own_parts, save
from finespot.weights.seeker import (
    SeekerCalibration,
    SeekerCard,
    SizeReach,
    is_seeker,
    read_seeker,
    read_seeker_card,
    save_seeker,
)
from finespot.weights.transfer import TransferReport, transfer

__all__ = [
    "CHANNELS",
    "FORMAT_VERSION",
    "LARGEST_SIDE",
    "Card",
    "MetricRecord",
    "ObjectScale",
    "SeekerCalibration",
    "SeekerCard",
    "SizeReach",
    "TransferReport",
    "build",
    "bundled",
    "is_seeker",
    "load",
    "naming",
    "read_card",
    "read_seeker",
    "read_seeker_card",
    "refuse_own_parts",
    "resolve",
    "save",
    "save_seeker",
    "transfer",
]
