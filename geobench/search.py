"""Exact search for the most similar gallery rows, in blocks: never all queries by all rows at once."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
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

TILE = 16
"""Queries are computed in groups of exactly so many, the last one padded: an answer then never depends, to the last
bit on a CPU, on which other queries are asked with it. One query alone costs as much as so many."""
GPU_TILE = 1024
"""On a GPU the groups are larger: small ones would leave it idle."""
BLOCK = 16_384
"""Gallery rows compared at a time: 32 MB of embeddings at 512-d float32."""
CHUNK = 1024
"""Of a block, gallery rows multiplied at a time."""
STAYS_MAPPED = 2**29
"""A memory-mapped gallery of at most so many bytes stays in memory between queries; of a larger one only a block."""


def in_tiles(function: Callable[[Tensor], Tensor], rows: Tensor, size: int | None = None) -> Tensor:
    """Return ``function`` of ``rows``, computed on padded groups of ``size`` rows, of those for queries if None."""
    import torch

    size = size or _tile_of(rows)
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
        for first, tile in _tiles(queries):
            products = _products(block, tile).T[: n - first].contiguous()  # (queries, block); the padding ends here
            values, index = products.topk(min(k, len(block)), dim=1)
            found.append((values, index + start, torch.logsumexp(scale * products, dim=1)))
        values, index, block_sum = (torch.cat(parts) for parts in zip(*found, strict=True))
        log_sum = torch.logaddexp(log_sum, block_sum)
        best, order = torch.cat([best, values], dim=1).sort(dim=1, descending=True, stable=True)
        rows = torch.cat([rows, index], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
        del block
        if gallery.nbytes > STAYS_MAPPED:
            _let_go(gallery)
    probabilities = torch.exp(scale * best - log_sum[:, None])
    return (
        best.double().cpu().numpy(),
        rows.cpu().numpy().astype(np.intp),
        probabilities.double().cpu().numpy(),
    )


def _products(block: Tensor, tile: Tensor) -> Tensor:
    """Return the inner products (m, t) of gallery rows (m, d) and queries (t, d).

    On a CPU many small products are a fifth faster than one: what each packs for itself stays in the cache.
    """
    import torch

    whole = len(block) - len(block) % CHUNK
    chunks = block[:whole].view(-1, CHUNK, block.shape[1])
    products = torch.bmm(chunks, tile.T.expand(len(chunks), -1, -1)).flatten(0, 1)
    return products if whole == len(block) else torch.cat([products, block[whole:] @ tile.T])


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


def _tile_of(rows: Tensor) -> int:
    return TILE if rows.device.type == "cpu" else GPU_TILE


def _tiles(queries: Tensor) -> list[tuple[int, Tensor]]:
    """Return the padded tiles of ``queries``, each with the number of its first."""
    import torch

    size = _tile_of(queries)
    padded = torch.cat([queries, queries.new_zeros(-len(queries) % size, queries.shape[1])])
    return [(start, padded[start : start + size]) for start in range(0, max(len(padded), 1), size)]


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
        embeddings = _mapped(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(f"{path}: the gallery embeddings are damaged ({error}); delete it and run again.") from error
    if embeddings.shape != shape:
        raise FeatureError(f"{path} holds {embeddings.shape} where {shape} belong; delete it and run again.")
    return embeddings


@lru_cache(maxsize=2)
def _mapped(path: Path, changed: int) -> npt.NDArray[np.float32]:
    """Return the file, memory-mapped; kept open, so that one query after another finds its pages in place."""
    return files.read_array(path, np.float32, (None, None), mapped=True)


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
