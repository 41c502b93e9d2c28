"""Exact search for the most similar gallery rows, in blocks: the full similarity matrix is never formed."""

from __future__ import annotations

import mmap
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geobench import disk, files, holding
from geobench.errors import FeatureError, StorageError
from geobench.geo import FloatArray
from geobench.models import Model
from geobench.progress import SILENT, Progress
from geobench.source import function_code

if TYPE_CHECKING:
    from torch import Tensor

    from geobench.gallery import Gallery

TILE = 16
"""Queries are processed in groups of exactly this size, the last one padded, so that a prediction does not depend on
the other queries (on a CPU, to the last bit). A single query costs as much as a whole group."""
GPU_TILE = 1024
"""The group size on a GPU, which small groups would leave idle."""
LANES = 64
"""Sums are padded to a multiple of it: the last few of a vector are worked out by instructions that round otherwise."""
BLOCK = 16_384
"""Gallery rows compared at a time: 32 MiB of float32 embeddings of width 512."""
CHUNK = 1024
"""Gallery rows multiplied at a time, within a block."""
MAX_RESIDENT_BYTES = 2**29
"""A memory-mapped gallery of up to this size stays in memory between queries; of a larger one, only one block does."""


def in_tiles(function: Callable[[Tensor], Tensor], rows: Tensor, size: int | None = None) -> Tensor:
    """Return ``function(rows)``, computed on padded groups of ``size`` rows; None is the group size of queries."""
    import torch

    size = size or _tile_size(rows)
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
        queries: (n, d), on the device to compute on.
        gallery: (m, d), in memory or memory-mapped.
        k: number of rows per query; at most m are returned.
        scale: factor on the inner products in the softmax.

    Returns:
        Inner products (n, k), row indices (n, k), and softmax probabilities (n, k) of ``scale`` × inner product over
        the whole gallery.
    """
    import torch

    n, k = len(queries), min(k, len(gallery))
    best = queries.new_full((n, 0), -torch.inf)
    rows = torch.empty((n, 0), dtype=torch.long, device=queries.device)
    padding = (0, -n % LANES)
    log_sum = queries.new_full((n + padding[1],), -torch.inf)
    for start in range(0, len(gallery), BLOCK):
        block = _as_tensor(gallery[start : start + BLOCK]).to(queries.device)
        found = []
        for first, tile in _tiles(queries):
            products = _products(block, tile).T[: n - first].contiguous()  # (queries, block), without the padding
            values, index = largest(products, min(k, len(block)))
            found.append((values, index + start, torch.logsumexp(scale * products, dim=1)))
        values, index, block_sum = (torch.cat(parts) for parts in zip(*found, strict=True))
        log_sum = torch.logaddexp(log_sum, torch.nn.functional.pad(block_sum, padding))
        best, order = torch.cat([best, values], dim=1).sort(dim=1, descending=True, stable=True)
        rows = torch.cat([rows, index], dim=1).gather(1, order)[:, :k]
        best = best[:, :k]
        del block
        if gallery.nbytes > MAX_RESIDENT_BYTES:
            _release_pages(gallery)
    probabilities = torch.exp(scale * best - log_sum[:n, None])
    return (
        best.double().cpu().numpy(),
        rows.cpu().numpy().astype(np.intp),
        probabilities.double().cpu().numpy(),
    )


def largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` largest of ``scores`` (n, m) in each row and their columns, best first; of equal ones the first.

    ``topk`` returns any of several equal ones, and others for another k, so that the best answer would depend on how
    many are asked for. Rows without equal ones among the k + 1 largest, nearly all, cost nothing more.
    """
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    tied = (values[:, 1:] == values[:, :-1]).any(dim=1).nonzero().flatten()
    for row in tied.tolist():
        candidates = (scores[row] >= values[row, k - 1]).nonzero().flatten()
        order = scores[row, candidates].sort(descending=True, stable=True).indices[:k]
        columns[row, :k] = candidates[order]
    return values[:, :k], columns[:, :k]


def _products(block: Tensor, tile: Tensor) -> Tensor:
    """Return the inner products (m, t) of gallery rows (m, d) and queries (t, d).

    On a CPU many small products are 20 % faster than one large one: their packed operands stay in the cache.
    """
    import torch

    whole = len(block) - len(block) % CHUNK
    chunks = block[:whole].view(-1, CHUNK, block.shape[1])
    products = torch.bmm(chunks, tile.T.expand(len(chunks), -1, -1)).flatten(0, 1)
    return products if whole == len(block) else torch.cat([products, block[whole:] @ tile.T])


def _as_tensor(block: npt.NDArray[np.float32]) -> Tensor:
    """Return ``block`` as a tensor without copying, and without torch's warning about read-only arrays."""
    import torch

    with warnings.catch_warnings(action="ignore"):
        return torch.from_numpy(block)


def _release_pages(array: npt.NDArray[np.float32]) -> None:
    """Release the resident pages of a memory map; nothing is lost, since the file holds the data."""
    mapped = getattr(array, "_mmap", None)
    if mapped is not None and hasattr(mapped, "madvise") and getattr(array, "mode", "c") != "c":
        mapped.madvise(mmap.MADV_DONTNEED)


def _tile_size(rows: Tensor) -> int:
    return TILE if rows.device.type == "cpu" else GPU_TILE


def _tiles(queries: Tensor) -> list[tuple[int, Tensor]]:
    """Return the padded tiles of ``queries``, each with the index of its first query."""
    import torch

    size = _tile_size(queries)
    padded = torch.cat([queries, queries.new_zeros(-len(queries) % size, queries.shape[1])])
    return [(start, padded[start : start + size]) for start in range(0, max(len(padded), 1), size)]


def gallery_embeddings(
    gallery: Gallery,
    embed: Callable[[FloatArray], Any],
    dim: int,
    checkpoint: str | None,
    progress: Progress = SILENT,
) -> npt.NDArray[np.float32]:
    """Return the embeddings (m, dim) of ``gallery``; given a ``checkpoint``, they are cached on disk and memory-mapped.

    Args:
        gallery: to embed.
        embed: maps coordinates (b, 2) to an array (b, dim); called on blocks. Its code is part of the cache key, and
            that of the model whose method it is.
        dim: embedding width.
        checkpoint: ``MODEL@ID``, part of the cache key; with None they are computed in memory.
        progress: reports progress.

    Raises:
        FeatureError: the embeddings on disk are damaged.
    """
    shape, what = (len(gallery), dim), f"embed the gallery {gallery.spec}"
    if checkpoint is None:
        memory = np.empty(shape, dtype=np.float32)
        fill(memory, gallery.coordinates, embed, what, progress)
        return memory
    code = function_code(embed, Model, __name__)
    path = files.home() / "galleries" / f"{files.digest(checkpoint, code, gallery.hash)}.npy"
    if not path.exists():
        with files.replacing(path) as temporary:
            mapped = files.new_array(temporary, np.float32, shape)
            fill(mapped, gallery.coordinates, embed, what, progress)
    if not (record := path.with_suffix(".json")).exists() and files.may_write(path.parent):
        about = {"checkpoint": checkpoint, "gallery": gallery.spec, "seed": gallery.seed, "points": len(gallery)}
        with suppress(StorageError):  # a full disk: it is written next time
            files.write_json(record, about)
    holding.use(path, record)
    try:
        embeddings = _mapped(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        damaged = f"{path}: the gallery embeddings are damaged ({error}); delete it and run again."
        raise FeatureError(disk.not_readable(path, error, damaged)) from error
    if embeddings.shape != shape:
        raise FeatureError(f"{path} has the shape {embeddings.shape} instead of {shape}; delete it and run again.")
    return embeddings


@lru_cache(maxsize=2)
def _mapped(path: Path, changed: int) -> npt.NDArray[np.float32]:
    """Return the memory-mapped file; the map is kept open so that its pages stay resident between queries."""
    return files.read_array(path, np.float32, (None, None), mapped=True)


def fill(
    target: npt.NDArray[np.float32],
    coordinates: FloatArray,
    embed: Callable[[FloatArray], Any],
    what: str,
    progress: Progress = SILENT,
) -> None:
    """Write the embeddings of ``coordinates`` (n, 2) to ``target`` (n, dim), an array or a memory map, in blocks."""
    with progress.track(what, len(coordinates), "points") as advance:
        for start in range(0, len(coordinates), BLOCK):
            block = coordinates[start : start + BLOCK]
            embeddings = np.asarray(embed(block))
            if embeddings.shape != (len(block), target.shape[1]) or not np.isfinite(embeddings).all():
                raise ValueError(
                    f"the embeddings have the shape {embeddings.shape}, or are not finite; for {len(block)} "
                    f"coordinates they must be ({len(block)}, {target.shape[1]}) finite numbers"
                )
            target[start : start + len(block)] = embeddings
            if isinstance(target, np.memmap):
                target.flush()
                _release_pages(target)
            advance(len(block))
