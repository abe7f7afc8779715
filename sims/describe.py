"""How unequal hospitals are, in the two numbers that predict how hard a federation is."""

import numpy as np
from numpy.typing import NDArray

from fedward.common.result import Skew


def skew(counts: NDArray[np.int64]) -> Skew:
    """Distances between the label distributions of hospitals, and the inequality of their sizes.

    A hospital without images has no label distribution: it counts for the Gini coefficient alone.

    Args:
        counts: images per hospital and emotion, shape (hospitals, emotions).
    """
    sizes = counts.sum(axis=1)
    distances = hellinger(counts[sizes > 0])
    return Skew(
        hellinger_mean=float(distances.mean()) if distances.size else 0.0,
        hellinger_max=float(distances.max(initial=0.0)),
        size_gini=gini(sizes),
    )


def hellinger(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Hellinger distances of all pairs of rows: 0 for the same distribution, 1 for disjoint ones.

    The distance of distributions p and q is the Euclidean one of sqrt(p) and sqrt(q), over sqrt(2).

    Source: Hellinger 1909, J. reine angew. Math. 136; as the measure of skew between federated
    hospitals: "A Thorough Assessment of the Non-IID Data Impact in Federated Learning",
    arXiv:2503.17070.

    Args:
        counts: images per hospital and emotion, shape (n, emotions), no row empty.

    Returns:
        The n (n - 1) / 2 distances: of row 0 to all later ones, of row 1 to all later ones, ...
    """
    roots = np.sqrt(counts / counts.sum(axis=1, keepdims=True))
    later = [np.linalg.norm(roots[i + 1 :] - root, axis=1) for i, root in enumerate(roots)]
    distances: NDArray[np.float64] = np.concatenate([*later, np.empty(0)]) / np.sqrt(2)
    return distances.clip(max=1.0)


def gini(sizes: NDArray[np.int64]) -> float:
    """The Gini coefficient: 0 when all sizes are equal, (n - 1) / n when one hospital has it all.

    Source: Gini 1912, "Variabilità e mutabilità": the mean difference of two hospitals' sizes over
    twice the mean size; here from the sorted sizes, in whole numbers, so that equal ones give 0.

    Args:
        sizes: images per hospital, shape (n,).
    """
    n, total = len(sizes), int(sizes.sum())
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, n + 1) - n - 1
    return int(weights @ np.sort(sizes)) / (n * total)
