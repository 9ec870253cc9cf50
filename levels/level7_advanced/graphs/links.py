"""Splits of a graph's links and pairs that are no links: made on the host once (NumPy), or drawn inside a step (JAX).

A link is an unordered pair; `canonical` writes it (u, v) with u < v.  What a model may see of a split's part is in
`message` (both directions), what it is asked about is in `positive` and `negative`, and none of those pairs, in
neither direction, is among the messages of its part:

    part    messages                              questions
    train   train links (without the disjoint)    train links, or the disjoint share of them
    val     all train links                       val links
    test    train and val links                   test links

Negatives to be scored avoid every link of the graph.  Negatives to be trained on avoid the links of the training part
only: avoiding those of the test set as well would tell the model where they are.
Source: the protocol of Kipf and Welling 2016 (Variational graph auto-encoders, section 3), as in PyG's RandomLinkSplit.
"""
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from common import data, parallel

Pairs = Int[np.ndarray, 'pairs 2']
LARGEST = 46_340        # nodes: the square must be an int32


class Part(NamedTuple):
    """`message`: senders and receivers, both directions; `positive`, `negative`: canonical pairs, as many of each."""
    message: Int[np.ndarray, '2 messages']
    positive: Pairs
    negative: Pairs


class LinkSplit(NamedTuple):
    train: Part
    val: Part
    test: Part


def canonical(pairs: Pairs) -> Pairs:
    """Each link once as (u, v) with u < v, sorted; loops and repetitions are left out."""
    pairs = np.sort(np.asarray(pairs).reshape(-1, 2), axis=1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def pair_ids(pairs, n_nodes: int):
    """One number per unordered pair: smaller node * n_nodes + larger node, for NumPy and JAX alike."""
    low, high = (jnp, np)[isinstance(pairs, np.ndarray)].sort(pairs, axis=-1).T
    return low * n_nodes + high


def known_ids(pairs: Pairs, n_nodes: int) -> Int[np.ndarray, ' pairs']:
    """Sorted ids of links, for `draw_negatives`.  Raises ValueError for more nodes than int32 can count pairs of."""
    if n_nodes > LARGEST:
        raise ValueError(f'n_nodes: expected at most {LARGEST} (ids of pairs are int32), found {n_nodes}')
    return np.sort(pair_ids(np.asarray(pairs, np.int64), n_nodes)).astype(np.int32)


def split_links(pairs: Pairs, n_nodes: int, *, val: float = 0.05, test: float = 0.1, disjoint: float = 0.0,
                structured: bool = False, seed: int = 0) -> LinkSplit:
    """A random split of an undirected graph's links, with as many negatives as positives in each part.

    disjoint: share of the training links that are asked about and taken out of the messages; 0 uses all for both
    structured: negatives keep one end of their positive (`structured_negatives`), else any two nodes
    Counts are PyG's: int(val * links) and int(test * links).  Raises ValueError for shares without sense, for a graph
    with too few links or too few pairs that are none.
    """
    if not (0 <= val < 1 and 0 <= test < 1 and val + test < 1 and 0 <= disjoint < 1):
        raise ValueError(f'val, test, disjoint: expected shares from 0 that leave training links, found {val}, {test}, '
                         f'{disjoint}')
    links = canonical(pairs)
    n_val, n_test = int(val * len(links)), int(test * len(links))
    links = links[data.permutation(len(links), seed, 0)]
    held, rest = links[:n_val + n_test], links[n_val + n_test:]
    asked = rest[:int(disjoint * len(rest))] if disjoint else rest
    told = rest[len(asked):] if disjoint else rest
    if not len(asked) or not len(told):
        raise ValueError(f'pairs: expected enough links to train on, found {len(links)} in all')
    val_links, test_links = held[:n_val], held[n_val:]
    sizes = (len(asked), n_val, n_test)
    if structured:
        positives = np.concatenate([asked, val_links, test_links])
        negatives = structured_negatives(positives, links, n_nodes, seed=seed)
    else:
        negatives = uniform_negatives(links, n_nodes, sum(sizes), seed=seed)
    asked_not, val_not, test_not = np.split(negatives, np.cumsum(sizes)[:-1])
    messages = lambda *parts: np.concatenate([p for part in parts for p in (part, part[:, ::-1])]).T
    return LinkSplit(Part(messages(told), asked, asked_not), Part(messages(rest), val_links, val_not),
                     Part(messages(rest, val_links), test_links, test_not))


def _draw(count: int, below: int, seed: int, stream: int) -> Int[np.ndarray, ' count']:
    """Numbers below `below` from raw Philox words, whose stream NumPy promises to keep."""
    words = np.random.Philox(key=np.array([seed % 2**64, 2**32 + stream], np.uint64)).random_raw(count)
    return (words >> np.uint64(11)).astype(np.int64) % below


def uniform_negatives(links: Pairs, n_nodes: int, count: int, *, seed: int = 0) -> Pairs:
    """`count` different pairs (u, v), u < v, drawn uniformly from those that are no links.

    Raises ValueError when there are not so many.
    """
    taken = np.unique(pair_ids(canonical(links).astype(np.int64), n_nodes))
    free = n_nodes * (n_nodes - 1) // 2 - len(taken)
    if count > free:
        raise ValueError(f'count: expected at most the {free} pairs that are no links, found {count}')
    if free < 2 * count:        # most of what is free is wanted: list it
        every = pair_ids(np.stack(np.triu_indices(n_nodes, 1), axis=1).astype(np.int64), n_nodes)
        left = np.setdiff1d(every, taken)
        ids = left[data.permutation(len(left), seed, 1)][:count]
    else:
        ids, stream = np.zeros(0, np.int64), 0
        while len(ids) < count:
            ends = _draw(4 * count + 64, n_nodes, seed, stream).reshape(-1, 2)
            new = pair_ids(ends[ends[:, 0] != ends[:, 1]], n_nodes)
            ids = np.concatenate([ids, new[~np.isin(new, taken)]])
            ids, stream = ids[np.sort(np.unique(ids, return_index=True)[1])], stream + 1     # once each, as drawn
        ids = ids[:count]
    return np.stack(np.divmod(ids, n_nodes), axis=1)


def structured_negatives(positive: Pairs, links: Pairs, n_nodes: int, *, seed: int = 0) -> Pairs:
    """For each positive (u, v) a pair of u or of v with a random third node, which is no link: harder to tell apart.

    As PyG's `structured_negative_sampling`, but of either end, as links have no direction; in canonical form; a pair
    may occur twice.  Raises ValueError when both ends of a positive are linked to every other node.
    """
    taken, out = pair_ids(canonical(links).astype(np.int64), n_nodes), np.full(positive.shape, -1, np.int64)
    degree = np.bincount(canonical(links).ravel(), minlength=n_nodes)
    full = degree >= n_nodes - 1
    if full[positive].all(axis=1).any():
        raise ValueError('positive: expected ends that are not linked to every node, found such a pair')
    todo, stream = np.arange(len(positive)), 0
    while len(todo):
        side, third = _draw(2 * len(todo), 2 * n_nodes, seed, 2**20 + stream).reshape(2, -1)
        pair = np.stack([positive[todo, side % 2], third // 2], axis=1)
        good = (pair[:, 0] != pair[:, 1]) & ~np.isin(pair_ids(pair, n_nodes), taken)
        out[todo[good]], todo, stream = np.sort(pair[good], axis=1), todo[~good], stream + 1
    return out


def candidates(key: Array, positive: Int[Array, 'rows 2'], known: Int[Array, ' links'], n_nodes: int, *,
               keep: str = 'none', loops: bool = False,
               tries: int = 16) -> tuple[Int[Array, 'rows tries 2'], Bool[Array, 'rows tries']]:
    """`tries` random pairs for each row of a batch, inside a jitted step; and which of them are no known link.

    known: `known_ids` of the links that training may know
    keep: 'none' draws any two nodes; 'source' keeps the row's first node and draws the second; 'either' keeps the
        row's first or second node, each as likely, at the pair's first place
    loops: whether a pair of a node with itself counts as free
    Rows have their own draws, so that any number of devices draws the same.  Raises ValueError for another `keep`.
    """
    if keep not in ('none', 'either', 'source'):
        raise ValueError(f"keep: expected 'none', 'either' or 'source', found {keep!r}")
    pairs = parallel.rows(lambda n: jax.random.randint(key, (n, tries, 2), 0, n_nodes), positive.shape[0])
    if keep == 'either':
        side = parallel.rows(lambda n: jax.random.bits(jax.random.fold_in(key, 1), (n, tries)), positive.shape[0]) % 2
        kept = jnp.where(side == 0, positive[:, :1], positive[:, 1:])
        pairs = jnp.stack([kept.astype(pairs.dtype), pairs[..., 1]], axis=-1)
    elif keep == 'source':
        kept = jnp.broadcast_to(positive[:, :1], pairs.shape[:2])
        pairs = jnp.stack([kept.astype(pairs.dtype), pairs[..., 1]], axis=-1)
    ids = jnp.min(pairs, -1) * n_nodes + jnp.max(pairs, -1)
    at = jnp.minimum(jnp.searchsorted(known, ids), max(len(known) - 1, 0))
    free = jnp.ones(ids.shape, bool) if loops else pairs[..., 0] != pairs[..., 1]
    free &= (known[at] != ids) if len(known) else True
    return pairs, free


def draw_negatives(key: Array, positive: Int[Array, 'rows 2'], known: Int[Array, ' links'], n_nodes: int, *,
                   structured: bool = False, tries: int = 16) -> tuple[Int[Array, 'rows 2'], Bool[Array, ' rows']]:
    """One pair that is no known link for each row of a batch, inside a jitted step; and whether one was found.

    known: `known_ids` of the links that training may know.  Each row takes the first of `tries` candidates that is no
    link and no loop; in a graph where a share p of all pairs are links, a row goes without with probability p^tries.
    structured: keep the row's first or second node, as `structured_negatives`; more of that kind, and harder ones, in
    `negatives`.
    """
    pairs, free = candidates(key, positive, known, n_nodes, keep='either' if structured else 'none', tries=tries)
    return first_free(pairs, free)


def first_free(pairs: Int[Array, 'rows tries 2'],
               free: Bool[Array, 'rows tries']) -> tuple[Int[Array, 'rows 2'], Bool[Array, ' rows']]:
    """Each row's first candidate that is free, and whether it has one."""
    first = jnp.argmax(free, axis=1)
    return jnp.take_along_axis(pairs, first[:, None, None], axis=1)[:, 0], free.any(axis=1)
