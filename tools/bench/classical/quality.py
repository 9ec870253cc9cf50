"""How good a fit is, computed alike for both sides from what they found: quality(row, d, side) -> a number.

`side` is `sides.Ours` or `sides.Theirs`.  What is minimised is divided by the number of rows, so that margins mean the
same at both sizes.  NumPy and scikit-learn only: neither side judges itself.
"""
import numpy as np

from tools.bench.classical import options


def _errors(d, side):
    coef, intercept = side.plane()
    return d.y.astype(np.float64) - (d.X @ coef.astype(d.X.dtype))[:, 0] - intercept[0], coef[:, 0]


def least_squares(o, d, side) -> float:
    """(||y - X w - b||^2 + alpha ||w||^2) / n."""
    e, w = _errors(d, side)
    return float((e @ e + o.get('alpha', 0) * (w @ w)) / len(e))


def elastic(o, d, side) -> float:
    e, w = _errors(d, side)
    ratio = o.get('l1_ratio', 1.0)
    return float(e @ e / len(e) / 2 + o['alpha'] * (ratio * np.abs(w).sum() + (1 - ratio) / 2 * (w @ w)))


def swept(o, d, side) -> float:
    """Ridge's objective, its mean over the penalties."""
    coef, intercept = side.planes()
    e = d.y[:, None] - (d.X @ coef.T.astype(d.X.dtype)) - intercept[None]
    e = e.astype(np.float64)
    return float(np.mean(((e * e).sum(0) + np.asarray(o['alpha']) * (coef * coef).sum(1)) / len(d.X)))


def path(o, d, side) -> float:
    """Lasso's objective, its mean over the path, on centred data."""
    alphas, coefs = side.result[:2]
    coefs = np.asarray(coefs, np.float64)
    alphas, coefs = np.asarray(alphas), coefs if coefs.shape[0] == len(alphas) else coefs.T
    X, y = d.X - d.X.mean(0), d.y - d.y.mean()
    e = (y[:, None] - X @ coefs.T.astype(X.dtype)).astype(np.float64)
    return float(np.mean((e * e).sum(0) / len(y) / 2 + alphas * np.abs(coefs).sum(1)))


def logistic_loss(o, d, side) -> float:
    coef, intercept = side.plane()
    z = (d.X @ coef.astype(d.X.dtype)).astype(np.float64)[:, 0] + intercept[0]
    losses = np.logaddexp(0, z) - d.y * z
    return float(losses.mean() + (coef * coef).sum() / (2 * o['C'] * len(z)))


def hinge(o, d, side) -> float:
    """The squared hinge's objective with a penalised intercept."""
    coef, intercept = side.plane()
    z = (d.X @ coef.astype(d.X.dtype)).astype(np.float64)[:, 0] + intercept[0]
    short = np.maximum(1 - (2 * d.y - 1) * z, 0)
    return float(((coef * coef).sum() + intercept[0] ** 2) / 2 / len(z) + o['C'] * np.mean(short**2))


def r2(o, d, side) -> float:
    y = d.yt.astype(np.float64)
    e = y - side.predict(d.Xt)
    return float(1 - (e @ e) / ((y - y.mean()) @ (y - y.mean())))


def mse(o, d, side) -> float:
    e = d.yt.astype(np.float64) - side.predict(d.Xt)
    return float(e @ e / len(e))


def accuracy(o, d, side) -> float:
    return float(np.mean(side.predict(d.Xt) == d.yt))


def agreement(o, d, side) -> float:
    """The share of queries, which are timed, that are told right."""
    return float(np.mean(side.predict(d.queries) == d.yt[:len(d.queries)]))


def agreement_r2(o, d, side) -> float:
    y = d.yt[:len(d.queries)].astype(np.float64)
    e = y - side.predict(d.queries)
    return float(1 - (e @ e) / ((y - y.mean()) @ (y - y.mean())))


def log_loss(o, d, side) -> float:
    p = side.proba(d.Xt)
    return float(-np.mean(np.log(np.maximum(p[np.arange(len(p)), d.yt], 1e-30))))


def inertia(o, d, side) -> float:
    """The mean squared distance to the nearest centre."""
    centers, total = side.read('centers').astype(d.X.dtype), 0.0
    for part in np.array_split(d.X, max(1, len(d.X) // 8192)):
        square = (centers * centers).sum(1)[None] - 2 * part @ centers.T
        total += float((square.min(1) + (part * part).sum(1)).astype(np.float64).sum())
    return total / len(d.X)


def variance(o, d, side) -> float:
    """The share of the variance that the axes hold."""
    A = d.X - d.X.mean(0)
    Z = A @ side.read('components').astype(A.dtype).T
    return float((Z * Z).sum(dtype=np.float64) / (A * A).sum(dtype=np.float64))


def rand(o, d, side) -> float:
    from sklearn.metrics import adjusted_rand_score
    return float(adjusted_rand_score(d.y, side.labels()))


def trust(o, d, side) -> float:
    from sklearn.manifold import trustworthiness
    return float(trustworthiness(d.X, side.read('embedding'), n_neighbors=15))


def heights(o, d, side) -> float:
    """The mean height of a tree's merges."""
    return float(np.asarray(side.result, np.float64)[:, 2].mean())


def distance(o, d, side) -> float:
    """The mean distance to the last neighbour."""
    return float(np.asarray(side.result[0], np.float64)[:, -1].mean())


def judged(row, d, side) -> dict[str, float]:
    """The quality that the row names."""
    return {row.quality.name: globals()[row.quality.name](options(row.options, d), d, side)}
