"""Which fingerprints are near which others: each with each, or, where that takes longer, by parts of their bits.

Of two fingerprints that differ in few bits, one of several parts differs in even fewer, so that each is looked up in a
table by what its parts are and by what differs from these in one or two bits (multi-index hashing: Norouzi, Punjani and
Fleet, CVPR 2012). A part has about as many bits as it takes to number the fingerprints: then few others have the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

Advance = Callable[[int], None]
Fingerprints = npt.NDArray[np.uint64]
Pairs = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.uint8]]
"""Rows (p,) of ours, rows (p,) of theirs, and in how many bits they differ."""

BITS = 128
ROWS, COLUMNS = 32, 4096  # compared at once: 1 MiB of differences, which fits in the CPU cache
AT_ONCE, LOOKED_UP, CANDIDATES = 1 << 13, 1 << 16, 1 << 20
SMALL = 1 << 26  # comparisons, a tenth of a second
LOOK_UP, PLACE = 40, 150
"""What a look-up, and a row of theirs in the table of a part, cost in comparisons of two fingerprints; measured."""


def near_pairs(ours: Fingerprints, theirs: Fingerprints, distance: int, advance: Advance) -> Iterator[Pairs]:
    """Yield the pairs of rows whose first two columns differ in at most ``distance`` bits, each once.

    Args:
        ours: (n, 2) or more columns.
        theirs: (m, 2) or more columns.
        distance: in bits.
        advance: counts rows of ``theirs``.
    """
    parts = _parts(len(ours), len(theirs), distance)
    return _by_parts(ours, theirs, distance, parts, advance) if parts else _each(ours, theirs, distance, advance)


def _parts(n: int, m: int, distance: int) -> int:
    """Return by how many parts n fingerprints are best looked up among m; 0 compares each with each."""
    if n * m <= SMALL:
        return 0
    parts = math.ceil(BITS / max(math.log2(m), 8))
    bits = -(-BITS // parts)
    masks = sum(math.comb(bits, k) for k in range(distance // parts + 1))
    cost = parts * (LOOK_UP * n * masks * (1 + m / 2**bits) + PLACE * m)
    return parts if cost < n * m else 0


def _each(ours: Fingerprints, theirs: Fingerprints, distance: int, advance: Advance) -> Iterator[Pairs]:
    """Compare each with each, in blocks; 3,000 × 1,000,000 take about 4 s on one core."""
    columns = [np.ascontiguousarray(theirs[:, word]) for word in (0, 1)]
    for first in range(0, len(theirs), COLUMNS):
        block = [column[first : first + COLUMNS] for column in columns]
        for row in range(0, len(ours), ROWS):
            part = ours[row : row + ROWS]
            differing = np.bitwise_count(part[:, :1] ^ block[0])
            differing += np.bitwise_count(part[:, 1:2] ^ block[1])
            if differing.min() <= distance:
                mine, other = np.nonzero(differing <= distance)
                yield mine + row, other + first, differing[mine, other]
        advance(len(block[0]))


def _by_parts(ours: Fingerprints, theirs: Fingerprints, distance: int, parts: int, advance: Advance) -> Iterator[Pairs]:
    """Look up each of ``ours`` by its parts; one part of all is in a table at a time."""
    radius, told = distance // parts, 0
    for part in range(parts):
        bits = range(part, BITS, parts)  # far apart: neighbours are more often equal
        masks = _masks(len(bits), radius)
        order, starts = _placed(_bits_of(theirs, bits), len(bits))
        keys = _bits_of(ours, bits)
        rows = max(1, LOOKED_UP // len(masks))
        for first in range(0, len(keys), rows):
            looked_up = (keys[first : first + rows, None] ^ masks).reshape(-1)
            begins, counts = starts[looked_up], starts[looked_up + 1] - starts[looked_up]
            for place, at in _candidates(begins, counts):
                mine, other, differing = _near(ours, theirs, first + place // len(masks), order[at], distance)
                new = ~_found_before(ours[mine], theirs[other], part, parts, radius)
                if new.any():
                    yield mine[new], other[new], differing[new]
        advance(len(theirs) * (part + 1) // parts - told)
        told = len(theirs) * (part + 1) // parts


def _near(
    ours: Fingerprints, theirs: Fingerprints, mine: npt.NDArray[np.intp], other: npt.NDArray[np.intp], distance: int
) -> Pairs:
    """Return the pairs of rows ``mine`` and ``other`` that differ in at most ``distance`` bits."""
    differing = np.bitwise_count(ours[mine, 0] ^ theirs[other, 0])
    differing += np.bitwise_count(ours[mine, 1] ^ theirs[other, 1])
    near = np.flatnonzero(differing <= distance)
    return mine[near], other[near], differing[near]


def _masks(bits: int, radius: int) -> npt.NDArray[np.int64]:
    """Return all numbers of so many bits of which at most ``radius`` are 1."""
    chosen = (each for k in range(radius + 1) for each in combinations(range(bits), k))
    return np.array([sum(1 << bit for bit in each) for each in chosen], dtype=np.int64)


def _bits_of(found: Fingerprints, bits: range) -> npt.NDArray[np.int64]:
    """Return the chosen ones of the 128 bits of each fingerprint, as a number (n,)."""
    numbers = np.zeros(len(found), dtype=np.int64)
    for start in range(0, len(found), AT_ONCE):
        words = np.ascontiguousarray(found[start : start + AT_ONCE, :2].T)
        number = np.zeros(words.shape[1], dtype=np.uint64)
        for place, bit in enumerate(bits):
            number |= (words[bit // 64] >> np.uint64(bit % 64) & np.uint64(1)) << np.uint64(place)
        numbers[start : start + AT_ONCE] = number
    return numbers


def _placed(keys: npt.NDArray[np.int64], bits: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return the rows in the order of their ``keys``, and where in it each key begins."""
    starts = np.zeros((1 << bits) + 1, dtype=np.intp)
    np.cumsum(np.bincount(keys, minlength=1 << bits), out=starts[1:])
    return np.argsort(keys, kind="stable"), starts


def _candidates(
    begins: npt.NDArray[np.intp], counts: npt.NDArray[np.intp]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """Yield pairs of a look-up and a place in the order of rows, up to about ``CANDIDATES`` at once."""
    hit = np.flatnonzero(counts)
    ends = np.cumsum(counts[hit])
    first = 0
    while first < len(hit):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + CANDIDATES, side="right")))
        chosen, times = hit[first:last], counts[hit[first:last]]
        within = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
        yield np.repeat(chosen, times), np.repeat(begins[chosen], times) + within
        first = last


def _found_before(
    ours: Fingerprints, theirs: Fingerprints, part: int, parts: int, radius: int
) -> npt.NDArray[np.bool_]:
    """Return which pairs (p,) were found by an earlier part already."""
    found = np.zeros(len(ours), dtype=np.bool_)
    apart = ours[:, :2] ^ theirs[:, :2]
    for earlier in range(part):
        found |= np.bitwise_count(_bits_of(apart, range(earlier, BITS, parts))) <= radius
    return found
