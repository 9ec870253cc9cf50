"""Pairs to train against that are harder to tell from links than random ones, drawn inside a jitted step.

Uniform ones are in `links.draw_negatives`; all of them take `known`, the ids of the links that training may know
(`links.known_ids`), and return one pair for each row of the batch and whether one was found.  Links that are held out
are not known, so they can be drawn; how often a draw meets one grows with its hardness, which is the price.
"""
from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from levels.level7_advanced.graphs.links import candidates, first_free

Drawn = tuple[Int[Array, 'rows 2'], Bool[Array, ' rows']]


def draw_structured(key: Key[Array, ''], positive: Int[Array, 'rows 2'], known: Int[Array, ' links'], n_nodes: int, *,
                    keep: str = 'source', loops: bool = False, tries: int = 16) -> Drawn:
    """For each link its source with another target that it has no link to: corrupted links.

    Formula: (u, v) -> (u, w), w uniform over {w: uw is not known, and w != u unless `loops`}; keep='either' corrupts
        either end, uniformly over both ends' free partners together.  By rejection: the first free one of `tries`
        candidates; a node that is linked to a share p of all nodes goes without with probability p^tries.
    Paper: Bordes et al. 2013, Translating embeddings for modeling multi-relational data, section 2, equation 2.
    Shapes: positive [m, 2], known [links] -> pairs [m, 2], kept node first, and found [m].
    Errors: ValueError for an unknown `keep`.
    Example:
        link = jnp.array([[0, 1]])
        known = jnp.array([0 * 4 + 1, 0 * 4 + 2])               # 0 is linked to 1 and to 2 of 4 nodes
        pair, found = draw_structured(jax.random.key(0), link, known, 4)
        assert found[0] and pair.tolist() == [[0, 3]]           # neither a link nor a loop
    """
    return first_free(*candidates(key, positive, known, n_nodes, keep=keep, loops=loops, tries=tries))


def draw_hard(key: Key[Array, ''], score: Callable[[Int[Array, 'pairs 2']], Float[Array, ' pairs']],
              positive: Int[Array, 'rows 2'], known: Int[Array, ' links'], n_nodes: int, *, keep: str = 'either',
              tries: int = 16) -> Drawn:
    """For each link the pair that the model takes for a link most, of some random ones that are none.

    Formula: (u, v) -> argmax of score over the free ones of `tries` candidates, corrupted as in `draw_structured`
        (keep='none': any two nodes).  tries=1 is `draw_structured` with one try, more is harder, and with all pairs
        among the candidates it is the hardest non-link of all.  No loops.  A tie goes to the candidate drawn first.
    Paper: Zhang, Chen, Wang, Yu 2013, Optimizing top-N collaborative filtering via dynamic negative item sampling,
        section 3.
    Shapes: score: pairs [k, 2] -> [k]; positive [m, 2], known [links] -> pairs [m, 2] and found [m].
    Errors: ValueError for an unknown `keep`.
    Example:
        link = jnp.array([[0, 1]])
        known = jnp.array([0 * 4 + 1])
        last = lambda pairs: pairs[:, 1].astype(jnp.float32)    # a model that likes node 3 best
        pair, found = draw_hard(jax.random.key(0), last, link, known, 4, keep='source', tries=64)
        assert found[0] and pair.tolist() == [[0, 3]]
    """
    pairs, free = candidates(key, positive, known, n_nodes, keep=keep, tries=tries)
    scores = score(pairs.reshape(-1, 2)).reshape(free.shape)
    best = jnp.argmax(jnp.where(free, scores, -jnp.inf), axis=1)
    return jnp.take_along_axis(pairs, best[:, None, None], axis=1)[:, 0], free.any(axis=1)
