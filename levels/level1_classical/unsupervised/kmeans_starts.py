"""Where k-means begins: greedy k-means++, or rows at random.

Paper: Arthur, Vassilvitskii 2007, k-means++: the advantages of careful seeding, SODA.
"""
import math

import jax
import jax.numpy as jnp

INITS = ('k-means++', 'random')


def draw(key, mass, shape=()):
    """Row numbers drawn in proportion to `mass` >= 0; never one without mass, if any has."""
    edges = jnp.cumsum(mass)
    last = len(mass) - 1 - jnp.argmax((mass > 0)[::-1])
    found = jnp.searchsorted(edges, jax.random.uniform(key, shape, mass.dtype) * edges[-1], side='right')
    return jnp.minimum(found, last)


def plus_plus(key, X, weight, k: int):
    """Greedy k-means++: of 2 + log k rows drawn by weight and squared distance, the one best for the inertia."""
    trials = 2 + int(math.log(k))
    distance_to = lambda c: jnp.sum((X - c[None]) ** 2, 1)
    first_key, key = jax.random.split(key)
    first = X[draw(first_key, weight)]

    def one(i, now):
        centers, closest = now
        mass = weight * closest
        mass = jnp.where(jnp.sum(mass) > 0, mass, weight)       # all rows are centres already
        tried = X[draw(jax.random.fold_in(key, i), mass, (trials,))]
        reached = jnp.minimum(closest[None], jax.vmap(distance_to)(tried))
        best = jnp.argmin(reached @ weight)
        return centers.at[i].set(tried[best]), reached[best]

    centers = jnp.zeros((k, X.shape[1]), X.dtype).at[0].set(first)
    return jax.lax.fori_loop(1, k, one, (centers, distance_to(first)))[0]


def starts(key, X, weight, k: int, init, n_init: int):
    """[n_init, k, features]."""
    if not isinstance(init, str):
        return init[None]
    keys = jax.random.split(key, n_init)
    if init == 'k-means++':
        return jax.vmap(lambda key: plus_plus(key, X, weight, k))(keys)
    # the k largest of exponential races: a draw without replacement, by weight
    race = lambda key: jnp.log(weight) - jnp.log(jax.random.exponential(key, weight.shape, weight.dtype))
    return jax.vmap(lambda key: X[jax.lax.top_k(race(key), k)[1]])(keys)
