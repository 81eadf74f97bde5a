"""Which picture files show the same, exactly or nearly.

Exact copies have equal bytes or, where decoded, equal pixels. Nearly equal are pictures whose 64 signs differ in few
and whose gray miniatures rise and fall together; pairs are searched with multi-index hashing (Norouzi, Punjani and
Fleet, Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012): of seven parts of the signs at least one is
equal where at most six signs differ. Differs: within equal parts only the next `REACH` by the whole signs are
compared, so that the work stays below pictures x REACH x parts however alike all pictures are.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from finespot.data.check.inspection import MINIATURE, Facts

Ints = NDArray[np.int64]
Signs = NDArray[np.uint64]

# Signs that may differ, and the least correlation of the miniatures: over all 888,000 pairs of HIT-UAV these two kept
# pairs of one flight only.
MOST_SIGNS = 6
LEAST_LIKENESS = 0.95
# Miniatures with less contrast (standard deviation in gray levels) have signs made of noise.
LEAST_CONTRAST = 2.0
REACH = 256

_PARTS = MOST_SIGNS + 1
_ENDS = 4096
_PIECE = 1 << 20
_BITS_OF_BYTE = np.array([value.bit_count() for value in range(256)], np.uint8)


def contents(files: Sequence[str], facts: Sequence[Facts]) -> Ints:
    """For each file the number of the first file with the same content (its own, where it is the first)."""
    first = np.arange(len(files))
    for group in _equal_files(files):
        first[group] = group[0]
    by_pixels: dict[bytes, int] = {}
    for number, one in enumerate(facts):
        if one.digest:
            known = by_pixels.setdefault(one.digest, int(first[number]))
            first[number] = min(known, int(first[number]))
    return first


class Likeness:
    """Gray miniatures of files, compared by the correlation of their pixels."""

    def __init__(self, facts: Sequence[Facts]) -> None:
        side = MINIATURE * MINIATURE
        gray = np.zeros((len(facts), side), np.uint8)
        for number, one in enumerate(facts):
            if one.miniature:
                gray[number] = np.frombuffer(one.miniature, np.uint8)
        self._gray = gray
        self._mean = gray.mean(1, dtype=np.float32)
        self._contrast = gray.std(1, dtype=np.float32)
        self.known = self._contrast >= LEAST_CONTRAST

    def __call__(self, a: Ints, b: Ints) -> NDArray[np.float32]:
        """Correlation, -1 to 1, of each pair of files; both must be `known`."""
        shift_a, shift_b = (self._gray[one].astype(np.float32) - self._mean[one][:, None] for one in (a, b))
        product = np.einsum("ij,ij->i", shift_a, shift_b) / self._gray.shape[1]
        likeness: NDArray[np.float32] = product / (self._contrast[a] * self._contrast[b])
        return likeness


def near_twins(facts: Sequence[Facts], first: Ints, home: Ints, likeness: Likeness) -> tuple[Ints, Ints]:
    """For each file the one, listed before it, that it most nearly equals, or -1: in its own split and in an earlier.

    Parameters
    ----------
    first:
        As `contents` gives it: only the first file of each content is looked at.
    home:
        The first split that has the file.
    """
    twins = np.full((2, len(facts)), -1)
    apart = np.full((2, len(facts)), MOST_SIGNS + 1)
    chosen = np.flatnonzero(likeness.known & (first == np.arange(len(facts))))
    signs = np.array([facts[number].signs for number in chosen.tolist()], np.uint64)
    for left, right, differing in _close_pairs(signs):
        a, b = np.minimum(chosen[left], chosen[right]), np.maximum(chosen[left], chosen[right])
        side = (home[a] != home[b]).astype(np.int64)
        # Only what is closer than a twin known already is compared: of a hundred equal frames each is settled once.
        closer = np.flatnonzero(differing < apart[side, b])
        a, b, side, differing = a[closer], b[closer], side[closer], differing[closer]
        alike = np.flatnonzero(likeness(a, b) >= LEAST_LIKENESS)
        # Of several for one file the closest is written last.
        alike = alike[np.argsort(-differing[alike], kind="stable")]
        twins[side[alike], b[alike]] = a[alike]
        apart[side[alike], b[alike]] = differing[alike]
    return twins[0], twins[1]


def _equal_files(files: Sequence[str]) -> Iterator[list[int]]:
    """Groups of files with equal bytes: by size, then by their ends, then by all that is in them."""
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, path in enumerate(files):
        if os.path.isfile(path):  # else it has vanished since it was opened, which the inspection has noted
            by_size[os.path.getsize(path)].append(number)
    for size, same_size in by_size.items():
        for ends in _grouped(same_size, files, _digest_of_ends):
            yield from [ends] if size <= _ENDS else _grouped(ends, files, _digest_of_all)


def _grouped(numbers: Sequence[int], files: Sequence[str], digest: Callable[[str], bytes]) -> list[list[int]]:
    """Groups of two or more with an equal digest, in the order of their first."""
    if len(numbers) < 2:
        return []
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number in numbers:
        groups[digest(files[number])].append(number)
    return [group for group in groups.values() if len(group) > 1]


def _digest_of_ends(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        head = file.read(_ENDS)
        size = os.fstat(file.fileno()).st_size
        if size > _ENDS:
            file.seek(max(_ENDS, size - _ENDS))
            head += file.read(_ENDS)
    return hashlib.blake2b(head, digest_size=16).digest()


def _digest_of_all(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.digest()


def _close_pairs(signs: Signs) -> Iterator[tuple[Ints, Ints, Ints]]:
    """Pairs (positions) of which at most `MOST_SIGNS` signs differ, and how many; a pair may come several times."""
    for low, high in _parts():
        key = (signs >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.lexsort((signs, key))
        sorted_key, sorted_signs = key[order], signs[order]
        start = np.arange(len(order))
        for step in range(1, REACH + 1):
            start = start[start < len(order) - step]
            start = start[sorted_key[start] == sorted_key[start + step]]
            if not len(start):
                break
            differing = _count_bits(sorted_signs[start] ^ sorted_signs[start + step])
            close = differing <= MOST_SIGNS
            if close.any():
                yield order[start[close]], order[start[close] + step], differing[close]


def _parts() -> Iterable[tuple[int, int]]:
    """(lowest bit, end) of each part."""
    ends = [round(64 * part / _PARTS) for part in range(_PARTS + 1)]
    return itertools.pairwise(ends)


def _count_bits(words: Signs) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = _BITS_OF_BYTE[words.view(np.uint8).reshape(-1, 8)].sum(1, dtype=np.int64)
    return counts
