"""Exact search for the most similar gallery rows, in blocks: never all queries by all rows at once."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import files
from geobench.errors import FeatureError
from geobench.geo import FloatArray
from geobench.progress import SILENT, Progress

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.gallery import Gallery

TILE = 32
"""Queries are computed in groups of exactly so many, the last one padded: an answer then never depends, to the last
bit on a CPU, on which other queries are asked with it."""
BLOCK = 16_384
"""Gallery rows compared at a time: 32 MB of embeddings at 512-d float32."""


def in_tiles(function: Callable[[Tensor], Tensor], rows: Tensor, size: int = TILE) -> Tensor:
    """Return ``function`` of ``rows``, computed on padded groups of ``size`` rows."""
    import torch

    if not len(rows):
        return function(rows.new_zeros(size, *rows.shape[1:]))[:0]
    outputs = []
    for tile in rows.split(size):  # type: ignore[no-untyped-call]
        padded = torch.cat([tile, tile.new_zeros(size - len(tile), *tile.shape[1:])])
        outputs.append(function(padded)[: len(tile)])
    return torch.cat(outputs)


def top_k(
    queries: Tensor, gallery: npt.NDArray[np.float32], k: int, *, scale: float = 1.0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return the ``k`` gallery rows with the largest inner product for each query, best first.

    Args:
        queries: (n, d) on the device that computes.
        gallery: (m, d), in memory or memory-mapped.
        k: at most m are returned.
        scale: of the softmax.

    Returns:
        Inner products (n, k), row numbers (n, k), and softmax probabilities (n, k) of ``scale`` × inner product over
        the whole gallery.
    """
    import torch

    n, k = len(queries), min(k, len(gallery))
    best = queries.new_full((n, 0), -torch.inf)
    rows = torch.empty((n, 0), dtype=torch.long, device=queries.device)
    log_sum = queries.new_full((n,), -torch.inf)
    for start in range(0, len(gallery), BLOCK):
        block = _as_tensor(gallery[start : start + BLOCK]).to(queries.device)
        found = []
        for tile in _tiles(queries):
            products = tile @ block.T  # (TILE, block)
            values, index = products.topk(min(k, len(block)), dim=1)
            found.append((values, index + start, torch.logsumexp(scale * products, dim=1)))
        values, index, block_sum = (torch.cat(parts)[:n] for parts in zip(*found, strict=True))
        log_sum = torch.logaddexp(log_sum, block_sum)
        best, order = torch.cat([best, values], dim=1).sort(dim=1, descending=True, stable=True)
        rows = torch.cat([rows, index], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
        del block
        _let_go(gallery)
    probabilities = torch.exp(scale * best - log_sum[:, None])
    return (
        best.double().cpu().numpy(),
        rows.cpu().numpy().astype(np.intp),
        probabilities.double().cpu().numpy(),
    )


def _as_tensor(block: npt.NDArray[np.float32]) -> Tensor:
    """Return ``block`` without a copy; nobody writes to it, which is what torch warns of where it is read-only."""
    import torch

    with warnings.catch_warnings(action="ignore"):
        return torch.from_numpy(block)


def _let_go(array: npt.NDArray[np.float32]) -> None:
    """Let the system take back the memory of what was read or written of a memory map; the file has it all."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise") and getattr(array, "mode", "c") != "c":
        mapped.madvise(mmap.MADV_DONTNEED)


def _tiles(queries: Tensor) -> list[Tensor]:
    import torch

    missing = -len(queries) % TILE
    padded = torch.cat([queries, queries.new_zeros(missing, queries.shape[1])])
    return list(padded.split(TILE))  # type: ignore[no-untyped-call]


def gallery_embeddings(
    gallery: Gallery,
    embed: Callable[[FloatArray], Any],
    dim: int,
    checkpoint: str | None,
    progress: Progress = SILENT,
) -> npt.NDArray[np.float32]:
    """Return the embeddings (m, dim) of ``gallery``; with a ``checkpoint`` they are kept on disk and memory-mapped.

    Args:
        gallery: to embed.
        embed: from coordinates (b, 2) to an array (b, dim), called on blocks.
        dim: width of an embedding.
        checkpoint: ``MODEL@ID``, the key under which they are kept; None computes in memory.
        progress: told of the work.

    Raises:
        FeatureError: the embeddings on disk are damaged.
    """
    shape, what = (len(gallery), dim), f"embed the gallery {gallery.spec}"
    if checkpoint is None:
        memory = np.empty(shape, dtype=np.float32)
        fill(memory, gallery.coordinates, embed, what, progress)
        return memory
    path = files.home() / "galleries" / f"{files.digest(checkpoint, gallery.hash)}.npy"
    if not path.exists():
        with files.replacing(path) as temporary:
            mapped = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            fill(mapped, gallery.coordinates, embed, what, progress)
    try:
        embeddings: npt.NDArray[np.float32] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(f"{path}: the gallery embeddings are damaged ({error}); delete it and run again.") from error
    if embeddings.shape != shape:
        raise FeatureError(f"{path} holds {embeddings.shape} where {shape} belong; delete it and run again.")
    return embeddings


def fill(
    target: npt.NDArray[np.float32],
    coordinates: FloatArray,
    embed: Callable[[FloatArray], Any],
    what: str,
    progress: Progress = SILENT,
) -> None:
    """Write the embeddings of ``coordinates`` (n, 2) to ``target`` (n, dim), memory-mapped or not, block by block."""
    with progress.track(what, len(coordinates), "points") as advance:
        for start in range(0, len(coordinates), BLOCK):
            block = coordinates[start : start + BLOCK]
            target[start : start + len(block)] = embed(block)
            if isinstance(target, np.memmap):
                target.flush()
                _let_go(target)
            advance(len(block))
