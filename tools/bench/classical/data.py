"""What both sides of a row are given: NumPy arrays, float32, drawn from one seed.  No JAX here.

X, y to learn from; Xt, yt to be judged on; and for some rows `init`, centres to begin with.
"""
from types import SimpleNamespace

import numpy as np

JUDGED = 5000       # rows that quality is measured on, where it is not measured on X


def _normal(rng, *shape):
    return rng.standard_normal(shape, np.float32)


def _split(X, y, n: int, **more) -> SimpleNamespace:
    return SimpleNamespace(X=X[:n], y=y[:n], Xt=X[n:], yt=y[n:], **more)


def linear(rng, s) -> SimpleNamespace:
    """A plane in columns that are related, a quarter of which matter, with noise of a third of its spread."""
    n, d = s['rows'], s['features']
    X = _normal(rng, n + JUDGED, d)
    X += 0.5 * np.roll(X, 1, axis=1)
    w = _normal(rng, d) * (np.arange(d) % 4 == 0)
    y = X @ w
    y = y / y.std() + _normal(rng, len(y)) / 3
    return _split(X, y.astype(np.float32), n)


def logits(rng, s) -> SimpleNamespace:
    """Two classes by the logistic model."""
    d = linear(rng, s)
    draw = lambda y: (rng.random(len(y)) < 1 / (1 + np.exp(-2 * y))).astype(np.int32)
    return SimpleNamespace(X=d.X, y=draw(d.y), Xt=d.Xt, yt=draw(d.yt))


def groups(rng, s, apart: float = 0.25, spread: float = 1.0) -> SimpleNamespace:
    """Normal clouds about `clusters` middles; `init` are rows to start from."""
    n, d, k = s['rows'], s['features'], s['clusters']
    more = max(JUDGED, s.get('queries', 0))
    y = rng.integers(0, k, n + more).astype(np.int32)
    X = apart * _normal(rng, k, d)[y] + spread * _normal(rng, n + more, d)
    init = X[rng.choice(n, k, replace=False)].copy()
    found = _split(X, y, n, init=init, clusters=k)
    found.queries = found.Xt[:s.get('queries', len(found.Xt))]
    return found


def far(rng, s) -> SimpleNamespace:
    """Clouds far from each other, for methods that find their number."""
    return groups(rng, s, apart=8.0)


def apart(rng, s) -> SimpleNamespace:
    """Clouds that hardly touch."""
    return groups(rng, s, apart=3.0)


def counts(rng, s) -> SimpleNamespace:
    """Counts as of words: each class has its own rates."""
    n, d, k = s['rows'], s['features'], s['clusters']
    y = rng.integers(0, k, n + JUDGED).astype(np.int32)
    rates = rng.gamma(2.0, 0.4, (k, d)).astype(np.float32)
    few = rng.random((n + JUDGED, d), np.float32)
    X = np.floor(-np.log1p(-few) * rates[y]).astype(np.float32)     # geometric: as quick to draw as uniform numbers
    return _split(X, y, n, clusters=k)


def low_rank(rng, s) -> SimpleNamespace:
    """A spectrum that falls slowly, as that of images does, and noise."""
    n, d = s['rows'], s['features']
    rank = min(d, 2 * s['components'])
    Z = _normal(rng, n, rank) * (1 + np.arange(rank, dtype=np.float32)) ** -0.5
    X = 5 * Z @ _normal(rng, rank, d) / np.float32(d ** 0.5) + 0.1 * _normal(rng, n, d) + 1
    return SimpleNamespace(X=X, y=None, Xt=X[:JUDGED], yt=None, components=s['components'])


def curved(rng, s) -> SimpleNamespace:
    """A smooth function of ten of the columns and noise; `positive` is whether it lies above its median."""
    n, d = s['rows'], s['features']
    X = _normal(rng, n + JUDGED, d)
    y = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + np.abs(X[:, 3]) + 0.5 * X[:, 4:10].sum(1)
    y = (y - y.mean()) / y.std() + 0.4 * _normal(rng, len(y))
    return _split(X, y.astype(np.float32), n)


def curved_classes(rng, s) -> SimpleNamespace:
    d = curved(rng, s)
    cut = np.median(d.y)
    return SimpleNamespace(X=d.X, y=(d.y > cut).astype(np.int32), Xt=d.Xt, yt=(d.yt > cut).astype(np.int32))


def made(kind: str, sizes: dict[str, int]) -> SimpleNamespace:
    """The data of a row."""
    return globals()[kind](np.random.Generator(np.random.PCG64(0)), sizes)
