"""t-SNE: maps in which near rows stay near; gradients exact, of nearest neighbours, or through a grid.

Formula: minimise KL(P || Q) over the map Y; P in `tsne_affinity`, Q and the gradient in `tsne_forces`, `tsne_grid`.
Paper: van der Maaten, Hinton 2008, Visualizing data using t-SNE, JMLR 9.
Shapes: X [rows, features] -> embedding [rows, n_components].

Example:
    from levels.level1_classical.unsupervised.tsne import tsne
    state = jax.jit(tsne(perplexity=30.0).fit)(jax.random.key(0), X)
    state.embedding, state.kl
"""
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level1_classical.estimator import Estimator, choice, concrete, exact, features, floats, hyper
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised import tsne_forces as forces
from levels.level1_classical.unsupervised.pca import pca
from levels.level1_classical.unsupervised.tsne_affinity import conditional, joint, returned
from levels.level1_classical.unsupervised.tsne_grid import grid_repulsion, kernel_tables

METHODS, INITS = ('auto', 'exact', 'neighbours', 'grid'), ('pca', 'random')
CHECK, PATIENCE = 50, 300       # steps between looks at the divergence, and without a better one


class TSNE(NamedTuple):
    """The map, its divergence from the data, and how the search ended."""

    embedding: Float[Array, 'rows k']
    kl: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']


class Descent(NamedTuple):
    """Where the descent stands: `best` is the least divergence of those looked at, `best_steps` when that was."""

    embedding: Float[Array, 'rows k']
    update: Float[Array, 'rows k']
    gains: Float[Array, 'rows k']
    steps: Int[Array, '']
    best: Float[Array, '']
    best_steps: Int[Array, '']
    done: Bool[Array, '']


def start(key, X, k: int, init):
    """The first map: the principal components so scaled that the first has deviation 1e-4, or noise of that size."""
    if not isinstance(init, str):
        return init
    noise = 1e-4 * jax.random.normal(key, (len(X), k), X.dtype)
    if init == 'random':
        return noise
    axes = min(k, *X.shape)
    solver = pca(n_components=axes, solver='eigh' if X.shape[1] <= 1000 else 'randomised')
    Z = solver.transform(solver.fit(key, X), X)
    spread = jnp.std(Z[:, 0])
    Z = Z * (1e-4 / jnp.where(spread > 0, spread, 1))
    return jnp.concatenate([Z, noise[:, axes:]], 1)     # where the data have fewer axes than the map


def whole(X, perplexity):
    """What is constant, the gradient and the divergence: of the whole P."""
    return joint(X, perplexity), forces.exact_gradient, forces.divergence


def sparse(X, perplexity, k: int, grid: bool):
    """The same of the k nearest neighbours, with repulsion between all pairs or through a grid."""
    found = nearest(X, X, k, exclude_self=True)
    p = conditional(found.distances**2, perplexity)
    # sum p_ij log p_ij over ordered pairs: an edge without its return stands for two of them
    back = returned(found.indices, p)
    pair = (p + back) / (2 * len(X))
    entropy = jnp.sum(jnp.where(pair > 0, pair * jnp.log(jnp.where(pair > 0, pair, 1)), 0) * jnp.where(back > 0, 1, 2))
    repel = grid_repulsion if grid else lambda Y, tables: forces.repulsion(Y)

    def gradient(constants, Y, exaggeration):
        neighbours, p, _, tables = constants
        v = forces.freedom(Y)
        far, Z = repel(Y, tables)
        return 2 * (v + 1) / v * (exaggeration * forces.attraction(Y, neighbours, p) - far / Z)

    def kl(constants, Y):
        neighbours, p, entropy, tables = constants
        return entropy + jnp.log(repel(Y, tables)[1]) - forces.closeness(Y, neighbours, p)

    return (found.indices, p, entropy, kernel_tables(X.dtype) if grid else None), gradient, kl


def descent(gradient, kl, begin, rate, early_exaggeration, early_steps, min_gradient) -> Task:
    """Gradient descent with momentum and a gain for each coordinate, as a Task whose batch is what is constant."""
    def first(key, constants):
        none = jnp.zeros((), jnp.int32)
        return Descent(begin, 0 * begin, 0 * begin + 1, none, jnp.full((), jnp.inf, begin.dtype), none, none < 0)

    def step(key, s, constants):
        early = s.steps < early_steps
        fresh = s.steps == early_steps      # the second stage begins at rest
        slope = gradient(constants, s.embedding, jnp.where(early, early_exaggeration, 1.0).astype(begin.dtype))
        update = jnp.where(fresh, 0, s.update)
        gains = jnp.where(fresh, 1, s.gains)
        gains = jnp.maximum(jnp.where(update * slope < 0, gains + 0.2, 0.8 * gains), 0.01)
        slope = gains * slope
        update = jnp.where(early, 0.5, 0.8) * update - rate * slope
        steps, Y = s.steps + 1, s.embedding + update
        look = ~early & (steps % CHECK == 0)
        now = jax.lax.cond(look, lambda: kl(constants, Y), lambda: s.best)
        better = now < s.best
        best_steps = jnp.where(better | early, steps, s.best_steps)
        flat = jnp.sqrt(jnp.sum(slope**2)) <= min_gradient
        done = look & (flat | (steps - best_steps > PATIENCE))
        return Descent(Y, update, gains, steps, jnp.where(better, now, s.best), best_steps, done), {}

    return Task(first, step)


@functools.partial(jax.jit, static_argnames=('how', 'k'))
def search(key, X, begin, perplexity, rate, early_exaggeration, early_iter, min_gradient, max_iter, how, k) -> TSNE:
    """The map found from `begin`."""
    constants, gradient, kl = whole(X, perplexity) if how == 'exact' else sparse(X, perplexity, k, how == 'grid')
    task = descent(gradient, kl, begin, rate, early_exaggeration, early_iter, min_gradient)
    end = solve(task, key, constants, max_steps=max_iter, done=lambda old, new: new.done)
    Y = end.state.embedding
    return TSNE(Y, kl(constants, Y), end.steps, end.converged)


def tsne(*, n_components: int = 2, perplexity=30.0, early_exaggeration=12.0, learning_rate: Any = 'auto',
         max_iter: int = 1000, early_iter: int = 250, min_gradient=1e-7, init: Any = 'pca', method: str = 'auto',
         n_neighbors: int | None = None) -> Estimator:
    """t-SNE: a map of the rows whose neighbourhoods are as likely as those of the data.

    Formula: minimise KL(P || Q) = sum_ij p_ij log(p_ij / q_ij), q_ij = w_ij / sum w, w_ij = (1 + |y_i - y_j|^2 / v) to
        the power of -(v + 1) / 2, v = max(n_components - 1, 1). The first `early_iter` steps take P times
        early_exaggeration and momentum 0.5, the others momentum 0.8; each coordinate's step has a gain, + 0.2 where it
        reverses and x 0.8 where it does not. 'auto' rate: max(rows / early_exaggeration / 4, 50).
    Paper: van der Maaten, Hinton 2008, Visualizing data using t-SNE, JMLR 9; neighbours: van der Maaten 2014, JMLR 15;
        grid: Linderman et al. 2019, Fast interpolation-based t-SNE, Nature Methods 16; rate: Belkina et al. 2019,
        Automated optimized parameters for t-SNE, Nature Communications 10.
    Shapes: fit X [rows, features] -> TSNE(embedding [rows, n_components], kl [], steps [], converged []). It has no
        transform: the map is one of these rows.
    method: 'exact' takes P whole, time and memory rows^2; 'neighbours' takes 3 x perplexity neighbours (or n_neighbors)
        and all repelling pairs, in chunks: time rows^2, memory rows x neighbours; 'grid' sums repulsion on a grid over
        a map of two dimensions, to about 1 %: time rows x neighbours + map's area x its logarithm, memory the same
        (finding the neighbours, once, takes rows^2 x features in chunks); vmapped, it does the work of all its grid
        sizes. 'auto' is 'grid' from 3,000 rows on for two dimensions, 'exact' where every row is among
        the 3 x perplexity neighbours of every other, else 'neighbours'.
    Cost: time and memory of each step as `method` says; memory beside that is a few times that of the map.
    perplexity: at most (rows - 1) / 3 is used. It may be traced if n_neighbors is given or the method is 'exact'.
    converged: the gradient times its gains fell to min_gradient, or 300 steps brought no smaller divergence.
    Errors: ValueError for bad shapes or values (`estimator.features`), fewer than two rows, weights, an unknown method
        or init, 'grid' for other than two dimensions, a traced perplexity without n_neighbors.
    Example:
        X = jnp.concatenate([jnp.eye(5), 9 + jnp.eye(5)])
        model = tsne(perplexity=3.0, max_iter=300, method='exact')
        state = model.fit(jax.random.key(0), X)
        centre = state.embedding.reshape(2, 5, 2).mean(1)
        assert jnp.linalg.norm(centre[0] - centre[1]) > 3 * state.embedding[:5].std()       # two groups, apart
    """
    hyper('n_components', n_components, 1)
    hyper('perplexity', perplexity, 1)
    hyper('early_exaggeration', early_exaggeration, 0, open_low=True)
    hyper('max_iter', max_iter, 1)
    hyper('early_iter', early_iter, 0)
    hyper('min_gradient', min_gradient, 0)
    choice('method', method, METHODS)
    if isinstance(learning_rate, str):
        choice('learning_rate', learning_rate, ('auto',))
    else:
        hyper('learning_rate', learning_rate, 0, open_low=True)
    if isinstance(init, str):
        choice('init', init, INITS)
    if n_neighbors is not None:
        hyper('n_neighbors', n_neighbors, 1)
    if method == 'grid' and n_components != 2:
        raise ValueError(f'method: expected exact or neighbours for n_components={n_components}, found {method!r}')

    def near(rows: int) -> int:
        """How many neighbours are looked at."""
        if n_neighbors is None and not concrete(perplexity):
            raise ValueError('n_neighbors: expected a number where perplexity is traced, found None')
        return min(rows - 1, int(3 * perplexity + 1) if n_neighbors is None else n_neighbors)

    def chosen(rows: int) -> str:
        if method != 'auto':
            return method
        return 'exact' if near(rows) == rows - 1 else 'grid' if rows >= 3000 and n_components == 2 else 'neighbours'

    @exact
    def fit(key, X, y=None, weight=None) -> TSNE:
        X = features(X)
        if weight is not None:
            raise ValueError('weight: expected None, as the rows of a map have no weights')
        n = len(X)
        if n < 2:
            raise ValueError(f'X: expected at least 2 rows, found {n}')
        begin = init
        if not isinstance(init, str):
            begin = floats(init).astype(X.dtype)
            if begin.shape != (n, n_components):
                raise ValueError(f'init: expected a map [{n}, {n_components}], found shape {begin.shape}')
        init_key, key = jax.random.split(key)
        begin = start(init_key, X, n_components, begin)
        used = jnp.maximum(jnp.minimum(jnp.asarray(perplexity, X.dtype), (n - 1) / 3), 1)
        rate = jnp.maximum(n / early_exaggeration / 4, 50.0) if isinstance(learning_rate, str) else learning_rate
        how = chosen(n)
        return search(key, X, begin, used, jnp.asarray(rate, X.dtype), early_exaggeration, early_iter, min_gradient,
                      max_iter, how, None if how == 'exact' else near(n))

    return Estimator(fit)
