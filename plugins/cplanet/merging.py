"""Merging S2 cells into classes: a graph of neighbouring cells whose lightest node joins its nearest neighbour."""

from __future__ import annotations

import heapq

import numpy as np

from geobench.geo import unit_vectors
from geobench.scenes import pooled_features

ROWS_AT_ONCE = 65_536


def neighbours(points):
    """Return the neighbours of each of n unit vectors (n, 3): the edges of their Delaunay triangulation on the sphere.

    Cells without photos are absorbed: two cells are neighbours if no other with photos lies between them. A point that
    the triangulation leaves out, metres from another, is a neighbour of the nearest point in it: all are connected.
    """
    from scipy.spatial import ConvexHull, cKDTree

    near = [set() for _ in range(len(points))]
    if len(points) < 5:  # no hull: everything is a neighbour of everything
        return [set(range(len(points))) - {n} for n in range(len(points))]
    hull = ConvexHull(points, qhull_options="QJ")
    for a, b, c in hull.simplices.tolist():
        near[a] |= {b, c}
        near[b] |= {a, c}
        near[c] |= {a, b}
    left_out = np.setdiff1d(np.arange(len(points)), hull.vertices)
    if len(left_out):
        nearest = hull.vertices[cKDTree(points[hull.vertices]).query(points[left_out])[1]]
        for a, b in zip(left_out.tolist(), nearest.tolist(), strict=True):
            near[a].add(b)
            near[b].add(a)
    return near


def merged(initial, n, coordinates, looks, classes, visual_weight, rng):
    """Return the class (n,) of each of ``n`` initial cells.

    Source: section 3.1. ω = α1 · images + α2 · cells of a node, ν = β1 · d_visual + β2 · d_geo of an edge; weights add
    up, features and centres are averaged.

    Args:
        initial: (m,) the cell of each image.
        n: number of cells.
        coordinates: (m, 2) of the images.
        looks: (n, d) what the images of each cell look like, by :func:`mean_looks`.
        classes: number of classes to stop at.
        visual_weight: β1 in units of β2; each set draws its own around it.
        rng: of α and β.
    """
    alpha, beta = rng.uniform(0.1, 1.0, 2), rng.uniform(0.1, 1.0, 2) * (visual_weight, 1.0)
    images = np.bincount(initial, minlength=n).astype(np.float64)
    vectors = _means(unit_vectors(coordinates), initial, n)
    features = looks.copy()
    near = neighbours(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    cells = np.ones(n)
    parent = np.arange(n)
    weight = alpha[0] * images / images.mean() + alpha[1] * cells
    heap = [(weight[node], node) for node in range(n)]
    heapq.heapify(heap)
    alive, left = np.ones(n, dtype=bool), n
    while left > classes:
        found, node = heapq.heappop(heap)
        if not alive[node] or found != weight[node]:
            continue  # merged, or heavier since
        others = np.array(sorted(near[node]))
        apart = np.linalg.norm(vectors[others] - vectors[node], axis=1)
        unlike = np.linalg.norm(features[others] - features[node], axis=1)
        other = int(others[np.argmin(beta[0] * unlike + beta[1] * apart)])
        share = images[other] / (images[other] + images[node])
        for of_node in (vectors, features):
            of_node[other] = share * of_node[other] + (1 - share) * of_node[node]
        images[other] += images[node]
        cells[other] += cells[node]
        weight[other] += weight[node]
        near[other] |= near[node]
        near[other] -= {other, node}
        for third in near[node] - {other}:
            near[third].discard(node)
            near[third].add(other)
        alive[node], parent[node], left = False, other, left - 1
        heapq.heappush(heap, (weight[other], other))
    for node in range(n):
        root = node
        while parent[root] != root:
            root = parent[root]
        while parent[node] != root:
            parent[node], node = root, parent[node]  # noqa: PLW2901  the path is shortened
    return np.unique(parent, return_inverse=True)[1].reshape(-1)


def mean_looks(features, rows, initial, n):
    """Return the mean (n, d) over each cell of the unit features of its images, a block of these in memory at a time.

    Args:
        features: (all, views, d), as a rule memory-mapped.
        rows: (m,) those of the images, in order.
        initial: (m,) the cell of each of these.
        n: number of cells.
    """
    total = np.zeros((n, features.shape[2]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        looks = pooled_features(features[rows[block]])
        np.add.at(total, initial[block], looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-12))
    return total / np.bincount(initial, minlength=n)[:, None]


def _means(values, groups, n):
    """Return the mean (n, d) of the ``values`` (m, d) in each group."""
    total = np.zeros((n, values.shape[1]))
    np.add.at(total, groups, values)
    return total / np.bincount(groups, minlength=n)[:, None]
