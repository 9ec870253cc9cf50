"""Link prediction without learning: how many neighbours two nodes share, and how rare those are.

Sources: Liben-Nowell and Kleinberg 2007, The link-prediction problem for social networks, section 3 (both);
    Adamic and Adar 2003, Friends and neighbors on the Web.
"""
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from levels.level7_advanced.graphs.link_metrics import average_precision, roc_auc
from levels.level7_advanced.graphs.links import LinkSplit, Part

NAMES = ('common neighbours', 'Adamic-Adar')


def scores(message: Int[np.ndarray, '2 messages'], pairs: Int[np.ndarray, 'm 2'], n_nodes: int
           ) -> dict[str, Float[np.ndarray, ' m']]:
    """name -> sum over common neighbours w of 1, and of 1 / log(degree of w), for each pair."""
    a = sparse.csr_array((np.ones(message.shape[1]), (message[0], message[1])), shape=(n_nodes, n_nodes))
    degree = np.asarray(a.sum(axis=0)).ravel()
    # A common neighbour has two links at least; a node with one has no say, and log(1) = 0 must not divide.
    rare = np.where(degree > 1, 1 / np.log(np.maximum(degree, 2)), 0)
    shared = a[pairs[:, 0]].multiply(a[pairs[:, 1]]).tocsr()
    return {NAMES[0]: shared @ np.ones(n_nodes), NAMES[1]: shared @ rare}


def baselines(splits: list[LinkSplit], n_nodes: int) -> tuple[dict, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """(metric -> name -> mean over the splits' test parts), and of the first split name -> (positive, negative)."""
    def of(part: Part):
        yes, no = (scores(part.message, pairs, n_nodes) for pairs in (part.positive, part.negative))
        return {name: tuple(np.asarray(s[name], np.float32) for s in (yes, no)) for name in NAMES}

    found = [of(split.test) for split in splits]
    measures = {'auc': roc_auc, 'ap': average_precision}
    table = {metric: {name: float(np.mean([fn(*map(np.asarray, one[name])) for one in found])) for name in NAMES}
             for metric, fn in measures.items()}
    return table, found[0]
