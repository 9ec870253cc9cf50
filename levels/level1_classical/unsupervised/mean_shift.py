"""Mean shift: every seed climbs the density of the rows to a mode; how many there are follows from the bandwidth.

Formula: c <- sum_i w_i K(||x_i - c|| / h) x_i / sum_i w_i K(...), K flat (1 within h) or Gaussian.
Paper: Comaniciu, Meer 2002, Mean shift: a robust approach toward feature space analysis, IEEE TPAMI 24.
Shapes: X [rows, features] -> centers [seeds, features], of which the first n_modes are modes, labels [rows].

Example:
    from levels.level1_classical.unsupervised.mean_shift import estimate_bandwidth, mean_shift
    model = mean_shift(bandwidth=estimate_bandwidth(X, quantile=0.2))
    state = model.fit(jax.random.key(0), X)
    labels = model.predict(state, X)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.scatter import scatter
from levels.level1_classical.estimator import Estimator, choice, concrete, exact, features, floats, holds, hyper, rows
from levels.level1_classical.estimator import weighted_mean as mean_of

KERNELS = ('flat', 'gaussian')
CHUNK = 128         # seeds that climb side by side


def squares(X: Float[Array, 'rows features'], C: Float[Array, 'k features']) -> Float[Array, 'rows k']:
    """Squared distances, from differences; sums over rows of this are sums over its first axis, which XLA does fast."""
    add = lambda total, now: (total + (now[0][:, None] - now[1][None]) ** 2, None)
    return jax.lax.scan(add, jnp.zeros((len(X), len(C)), X.dtype), (X.T, C.T), unroll=min(16, X.shape[1]))[0]


class MeanShift(NamedTuple):
    """The modes, densest first: `n_modes` of the rows of `centers`, zeros below.  `intensity` is the weight (flat) or
    the sum of kernels (Gaussian) around each; `converged` says whether every seed came to rest."""

    centers: Float[Array, 'seeds features']
    intensity: Float[Array, ' seeds']
    n_modes: Int[Array, '']
    bandwidth: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def climb(X, weight, seeds, active, h, kernel: str, tol, max_iter: int):
    """(where each seed comes to rest, the mass around it, the most steps, whether all came to rest)."""
    columns = jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1)
    # of the flat kernel only membership counts, which makes its cost that of one comparison a pair
    weigh = {'flat': lambda d2: jnp.where(d2 <= h**2, weight[:, None], 0),
             'gaussian': lambda d2: weight[:, None] * jnp.exp(-d2 / (2 * h**2))}[kernel]

    n, lanes = len(seeds), min(CHUNK, len(seeds))

    def step(now):
        at, took, seed, done = now
        sums = weigh(squares(X, at)).T @ columns
        mass = sums[:, -1]
        to = jnp.where((mass > 0)[:, None], sums[:, :-1] / jnp.where(mass > 0, mass, 1)[:, None], at)
        rest = jnp.sum((to - at) ** 2, 1) <= (tol * h) ** 2
        over = (rest | (took + 1 >= max_iter)) & (seed < n)
        put = jnp.where(over, seed, n)
        done = [scatter(v, put, new) for v, new in zip(done, (to, mass, took + 1, rest), strict=True)]
        # a lane whose seed has come to rest takes the next one, so that none waits for the slowest
        seed = jnp.where(over, jnp.max(seed) + jnp.cumsum(over, dtype=seed.dtype), seed)
        at = jnp.where(over[:, None], seeds[jnp.minimum(seed, n - 1)], to)
        return at, jnp.where(over, 0, took + 1), seed, done

    count = jnp.zeros(lanes, jnp.int32)
    done = [seeds, jnp.zeros(n, X.dtype), jnp.zeros(n, jnp.int32), jnp.zeros(n, bool)]
    start = (seeds[:lanes], count, jnp.arange(lanes, dtype=jnp.int32), done)
    at, mass, steps, rest = jax.lax.while_loop(lambda now: (now[2] < n).any(), step, start)[3]
    return at, jnp.where(active, mass, 0), jnp.max(jnp.where(active, steps, 0)), jnp.all(rest | ~active)


def merged(at, mass, h):
    """Modes, densest first: the densest seed left, and gone are all within h of it. Equal masses go by coordinates."""
    n, d = at.shape

    def densest(alive):
        best = alive & (mass == jnp.max(jnp.where(alive, mass, 0)))

        def by_column(j, best):
            return best & (at[:, j] == jnp.max(jnp.where(best, at[:, j], -jnp.inf)))

        return jnp.argmax(jax.lax.fori_loop(0, d, by_column, best)).astype(jnp.int32)

    def one(now):
        alive, chosen, count = now
        i = densest(alive)
        near = squares(at, at[i][None])[:, 0] <= h**2
        return alive & ~near, chosen.at[count].set(i), count + 1

    start = (mass > 0, jnp.full(n, n, jnp.int32), jnp.int32(0))
    _, chosen, count = jax.lax.while_loop(lambda now: now[0].any(), one, start)
    pick = lambda v: v.at[chosen].get(mode='fill', fill_value=0)
    return pick(at), pick(mass), count


@exact
def estimate_bandwidth(X: Float[Array, 'rows features'], *, quantile: Any = 0.3, weight=None) -> Float[Array, '']:
    """The mean distance from a row to the last of its nearest `quantile` of the rows, itself included.

    Formula: mean_i of the k-th smallest ||x_i - x_j||, k = the whole part of quantile * rows, at least 1.
    Paper: Comaniciu, Meer 2002, Mean shift, section 3.1; the rule is scikit-learn's.
    Shapes: X [rows, features], weight [rows] -> []. Time rows^2 x features, memory rows at a time. `quantile` may be
        traced. The k-th smallest is found by bisection on the bits of the numbers, which sorts nothing.
    Errors: ValueError for bad shapes or values (`estimator.rows`), quantile outside 0 to 1.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        h = estimate_bandwidth(X, quantile=0.5)
        assert h == 1.0
        estimate_bandwidth(X, quantile=1.0)                  # 2.5: the mean of 3, 2, 2, 3
    """
    X, _, weight = rows(X, None, weight, need_y=False)
    hyper('quantile', quantile, 0, 1)
    total = jnp.sum(weight)
    k = jnp.maximum(1, jnp.floor(quantile * total))
    whole = {4: jnp.int32, 8: jnp.int64}[X.dtype.itemsize]

    def last(part):
        bits = jax.lax.bitcast_convert_type(squares(X, part), whole)     # of numbers >= 0: in the same order

        def halve(i, now):
            low, high = now
            middle = low + (high - low) // 2
            enough = jnp.sum(jnp.where(bits <= middle[None], weight[:, None], 0), 0) >= k
            return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

        low = jnp.zeros(len(part), whole)
        high = jnp.max(bits, 0)
        return jax.lax.bitcast_convert_type(jax.lax.fori_loop(0, X.dtype.itemsize * 8 - 1, halve, (low, high))[1],
                                            X.dtype)

    size = min(CHUNK, len(X))
    parts = jnp.pad(X, ((0, -len(X) % size), (0, 0))).reshape(-1, size, X.shape[1])
    return weight @ jnp.sqrt(jax.lax.map(last, parts).reshape(-1)[:len(X)]) / total


@exact
def predict(state, X: Float[Array, 'rows features']) -> Int[Array, ' rows']:
    """The number of the nearest mode.  Shapes: [rows, features] -> [rows].  Errors: ValueError as `features`."""
    X, d = features(X), state.centers.shape[1]
    if X.shape[1] != d:
        raise ValueError(f'X: expected {d} features as in fit, found {X.shape[1]}')
    absent = jnp.arange(len(state.centers)) >= state.n_modes

    def closer(best, now):
        (least, label), (center, gone, i) = best, now
        distance = jnp.where(gone, jnp.inf, jnp.sum((X - center[None]) ** 2, 1))
        return (jnp.minimum(least, distance), jnp.where(distance < least, i, label)), None

    X = X.astype(state.centers.dtype)
    start = (jnp.full(len(X), jnp.inf, X.dtype), jnp.full(len(X), -1, jnp.int32))
    return jax.lax.scan(closer, start, (state.centers, absent, jnp.arange(len(absent), dtype=jnp.int32)))[0][1]


def mean_shift(*, bandwidth: Any = None, kernel: str = 'flat', seeds: Any = None, tol=1e-3,
               max_iter: int = 300) -> Estimator:
    """Mean shift from every row, or from given seeds; modes closer than the bandwidth are one.

    Formula: c <- sum w K x / sum w K until it moves by at most tol * bandwidth; K = 1 where ||x - c|| <= h (flat), or
        exp(-||x - c||^2 / 2 h^2) (Gaussian). Then the seed with the largest sum w K becomes a mode, and all within h of
        it are dropped; and so on. A row's label is its nearest mode.
    Paper: Comaniciu, Meer 2002, Mean shift: a robust approach toward feature space analysis, IEEE TPAMI 24.
    Shapes: fit X [rows, features], weight [rows] -> MeanShift(centers [seeds, features], the first n_modes of them
        modes, zeros below; intensity [seeds], n_modes [], bandwidth [], steps [], converged []); predict [rows].
    bandwidth: a number above 0, may be traced; None takes `estimate_bandwidth`. seeds: [seeds, features].
    Cost: time rows x seeds x features for each step, memory rows x 128.
    Errors: ValueError for bad shapes or values (`estimator.rows`), bandwidth not above 0, an unknown kernel, seeds with
        another number of features.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0]])
        model = mean_shift(bandwidth=2.0)
        state = model.fit(jax.random.key(0), X)
        assert state.n_modes == 2 and state.centers[:2, 0].tolist() == [1.0, 8.5]
        model.predict(state, X)                              # [0, 0, 0, 1, 1]
    """
    hyper('bandwidth', 1.0 if bandwidth is None else bandwidth, 0, open_low=True)
    hyper('tol', tol, 0)
    hyper('max_iter', max_iter, 1)
    choice('kernel', kernel, KERNELS)

    @exact
    def fit(key, X, y=None, weight=None) -> MeanShift:
        X, _, weight = rows(X, None, weight, need_y=False)
        begin, active = X, weight > 0
        if seeds is not None:
            begin = floats(seeds).astype(X.dtype)
            if begin.ndim != 2 or begin.shape[1] != X.shape[1] or not len(begin):
                raise ValueError(f'seeds: expected [seeds, {X.shape[1]}], found shape {begin.shape}')
            active = jnp.ones(len(begin), bool)
        h = jnp.asarray(estimate_bandwidth(X, weight=weight) if bandwidth is None else bandwidth, X.dtype)
        if bandwidth is None and concrete(h) and not holds(lambda: h > 0):
            raise ValueError('bandwidth: expected one above 0, found 0 by the estimate, as too many rows are equal')
        middle = mean_of(X, weight)[None]
        at, mass, steps, rest = climb(X - middle, weight, begin - middle, active, h, kernel, tol, max_iter)
        centers, intensity, count = merged(at, mass, h)
        valid = (jnp.arange(len(centers)) < count)[:, None]
        return MeanShift(jnp.where(valid, centers + middle, 0), intensity, count, h, steps, rest)

    return Estimator(fit, predict)
