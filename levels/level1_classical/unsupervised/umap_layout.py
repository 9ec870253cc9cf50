"""The optimisation of a UMAP map: edges attract their ends, drawn rows repel; a jitted scan over epochs.

Formula: attraction -2 a b d^(2b - 2) / (1 + a d^(2b)) (y_i - y_j), repulsion 2 b / ((0.001 + d^2)(1 + a d^(2b))) (y_i -
    y_j), each coordinate cut at 4, times a rate that falls from 1 to 0; an edge of weight w takes part in w / max w of
    the epochs, and with it `negatives` drawn rows.
Paper: McInnes, Healy, Melville 2018, UMAP, arXiv:1802.03426, section 4.2 and algorithm 5.
Shapes: Y [rows, k], neighbours, rates [rows, n] -> [rows, k].

The paper's loop moves after every edge. Summed over all edges at once its steps overshoot, for a row has many, and the
map comes out coarser. So an epoch goes through the n-th nearest neighbours of all rows at a time, n = 1, 2, ...: every
row then moves once for each of its edges, as in the loop, and all rows side by side. The drawn rows are the same number
of places further on for all rows of a step, places having been shuffled: nothing needs to be gathered.
"""
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

CUT, NEAR = 4.0, 1e-3
compiled = functools.partial(jax.jit, static_argnames=('epochs', 'negatives'))


def attracted(gaps, a, b):
    """The step of y_i toward y_j, for gaps y_i - y_j by coordinate."""
    d2 = sum(g**2 for g in gaps)
    safe = jnp.where(d2 > 0, d2, 1)
    power = safe**b
    size = jnp.where(d2 > 0, -2 * a * b * power / safe / (1 + a * power), 0)
    return [jnp.clip(size * g, -CUT, CUT) for g in gaps]


def repelled(gaps, a, b):
    """The step of y_i away from y_j."""
    d2 = sum(g**2 for g in gaps)
    size = 2 * b / ((NEAR + d2) * (1 + a * jnp.where(d2 > 0, d2, 1) ** b * (d2 > 0)))
    return [jnp.clip(size * g, -CUT, CUT) for g in gaps]


def due(rate, epoch):
    """How often an edge of that rate comes in this epoch: 0, 1, 2."""
    return jnp.floor((epoch + 1) * rate) - jnp.floor(epoch * rate)


@compiled
def layout(key, Y: Float[Array, 'rows k'], neighbours: Int[Array, 'rows n'], s: Float[Array, 'rows n'], mutual, a, b, *,
           epochs: int, negatives: int, learning_rate=1.0, repulsion=1.0) -> Float[Array, 'rows k']:
    """The map after all epochs.  `s` are the weights of edges either way, `mutual` whether j lists i as well.

    The loop of the paper has each edge in both directions; here one that is listed once counts twice.
    """
    rows = len(Y)
    order_key, shift_key = jax.random.split(key)
    order = jax.random.permutation(order_key, rows)
    place = jnp.zeros(rows, jnp.int32).at[order].set(jnp.arange(rows, dtype=jnp.int32))
    once = jnp.where(mutual, s, 2 * s)
    top = jnp.maximum(jnp.max(s), jnp.finfo(s.dtype).tiny)
    # a row draws for the edges that others list, too
    listed = jnp.sum(once, 1)
    whole = jnp.sum(s, 1) + jnp.zeros(rows, s.dtype).at[neighbours].add(jnp.where(mutual, 0, s))
    draws = (whole / jnp.where(listed > 0, listed, 1))[order]
    columns = place[neighbours[order]].T, (once / top)[order].T
    shifts = jax.random.randint(shift_key, (epochs, neighbours.shape[1], negatives), 1, max(rows, 2))

    def epoch(Y, now):
        number, shifts = now
        alpha = learning_rate * (1 - number / epochs)

        def column(Y, now):
            js, rate, shifts = now
            times = alpha * due(rate, number)
            pull = attracted([y - y[js] for y in Y], a, b)
            Y = tuple((y + times * p).at[js].add(-times * p) for y, p in zip(Y, pull, strict=True))
            twice = [jnp.concatenate([y, y]) for y in Y]
            away = [jnp.zeros_like(y) for y in Y]
            for i in range(negatives):
                others = [jax.lax.dynamic_slice(t, (shifts[i],), (rows,)) for t in twice]
                push = repelled([y - o for y, o in zip(Y, others, strict=True)], a, b)
                away = [total + p for total, p in zip(away, push, strict=True)]
            return tuple(y + (repulsion * times * draws) * p for y, p in zip(Y, away, strict=True)), None

        return jax.lax.scan(column, Y, (*columns, shifts))[0], None

    begin = tuple(Y[order].T)
    end = jax.lax.scan(epoch, begin, (jnp.arange(epochs, dtype=Y.dtype), shifts))[0]
    return jnp.stack(end, 1)[place]


@compiled
def placed(key, Y: Float[Array, 'queries k'], fixed: Float[Array, 'rows k'], neighbours: Int[Array, 'queries n'],
           w: Float[Array, 'queries n'], a, b, *, epochs: int, negatives: int, learning_rate=1.0, repulsion=1.0):
    """New rows moved among the `fixed` ones.  What is drawn is the same for all, so that none depends on the others."""
    rate = w / jnp.maximum(jnp.max(w, 1, keepdims=True), jnp.finfo(w.dtype).tiny)
    drawn = jax.random.randint(key, (epochs, neighbours.shape[1], negatives), 0, len(fixed))

    def epoch(Y, now):
        number, drawn = now
        alpha = learning_rate * (1 - number / epochs)

        def column(Y, now):
            js, rate, drawn = now
            times = alpha * due(rate, number)
            pull = attracted([y - o[js] for y, o in zip(Y, fixed.T, strict=True)], a, b)
            Y = tuple(y + times * p for y, p in zip(Y, pull, strict=True))
            push = repelled([y[:, None] - o[drawn][None] for y, o in zip(Y, fixed.T, strict=True)], a, b)
            return tuple(y + repulsion * times * jnp.sum(p, 1) for y, p in zip(Y, push, strict=True)), None

        return jax.lax.scan(column, Y, (neighbours.T, rate.T, drawn))[0], None

    return jnp.stack(jax.lax.scan(epoch, tuple(Y.T), (jnp.arange(epochs, dtype=Y.dtype), drawn))[0], 1)
