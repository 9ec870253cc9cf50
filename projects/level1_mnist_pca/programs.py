"""What is computed: the null of the scree, and what components of a training part are worth on digits held out."""
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from common import spread
from levels.level1_classical import study
from levels.level1_classical.classification.knn import knn_classifier
from levels.level1_classical.classification.logistic import logistic
from levels.level1_classical.estimator import exact
from levels.level1_classical.preprocessing import chain
from levels.level1_classical.unsupervised.pca import incremental_pca, pca, scatter

PROBES = ('knn', 'logistic')
BASES = ('pca', 'random')
DARK = 1e-3         # variance below which logistic regression does without a pixel
SOLVERS = ('full', 'eigh', 'randomised', 'incremental')


class Folds(NamedTuple):
    """Seeds times folds; test rows are numbers, the last ones repeated where folds differ by one."""

    key: np.ndarray                         # [problems, 2]
    train: Float[np.ndarray, 'problems n']
    test: Int[np.ndarray, 'problems m']


class Held(NamedTuple):
    """What was found on the test rows of each problem; bases are components and random directions."""

    guess: Int[np.ndarray, 'problems probes bases dims m']
    raw: Int[np.ndarray, 'problems probes m']
    error: Float[np.ndarray, 'problems bases ranks m']      # mean squared error of each digit's pixels
    seen: Float[np.ndarray, 'problems ranks']               # the same of components, mean over training rows
    flat: Float[np.ndarray, 'problems m']                   # of the mean digit


def folds(c, seeds: list[int], labels: np.ndarray) -> Folds:
    """Stratified folds of the first rows."""
    n = len(labels)
    parts = [study.folds('stratified', n, labels, outer=c.folds, inner=2, seed=s).outer for s in seeds]
    size = max(int(t.sum()) for p in parts for t in p.test)
    test = [np.flatnonzero(t) for p in parts for t in p.test]
    key = [np.asarray(jax.random.key_data(jax.random.split(jax.random.key(s), c.folds))) for s in seeds]
    return Folds(np.concatenate(key), np.concatenate([p.train for p in parts]).astype(np.float32),
                 np.stack([np.pad(t, (0, size - len(t)), mode='edge') for t in test]).astype(np.int32))


def classifier(C: float):
    """Logistic regression for ten digits."""
    return logistic(C=C, n_classes=10, solver='lbfgs', tol=1e-4, max_iter=200)


def probes(c):
    """name -> the classifier that tells what coordinates are good for."""
    return {'knn': knn_classifier(n_neighbors=c.neighbors, n_classes=10),
            'logistic': classifier(c.C)}


def judge(c):
    """one(shared, problem) -> Held, for `study.in_turn`: everything is fitted on the problem's training rows."""
    ranks, dims, classifiers = np.array(c.ranks), np.array(c.dims), probes(c)
    most = int(max(ranks.max(), dims.max()))

    @exact
    def one(shared, problem):
        (X, y), key = shared, jax.random.wrap_key_data(problem.key)
        model = pca(n_components=most, solver='eigh')
        state = model.fit(key, X, weight=problem.train)
        centred = X - state.mean[None]
        chance = jnp.linalg.qr(jax.random.normal(key, (X.shape[1], most)))[0]
        Z = jnp.stack([centred @ state.components.T, centred @ chance])
        length = jnp.sum(centred**2, 1)
        # of orthonormal axes what is left is the length less that along the axes
        left = jnp.maximum(length[None, None] - jnp.cumsum(Z**2, 2)[:, :, ranks - 1].transpose(0, 2, 1), 0) / X.shape[1]

        def fitted(name, features):
            model = classifiers[name]
            return model.predict(model.fit(key, features, y, problem.train), features[problem.test])

        def some(which):        # columns beyond the first d as zeros: one program serves every d
            basis, d = which
            features = jnp.where(jnp.arange(dims.max())[None] < d, Z[basis][:, :dims.max()], 0)
            return jnp.stack([fitted(name, features) for name in PROBES])

        which = tuple(jnp.asarray(v.ravel()) for v in np.meshgrid(np.arange(len(BASES)), dims, indexing='ij'))
        guess = jax.lax.map(some, which).reshape(len(BASES), len(dims), len(PROBES), -1).transpose(2, 0, 1, 3)
        # the logistic solver measures columns in deviations, which blows up a pixel that one digit in a thousand lights
        lit = problem.train @ centred**2 / jnp.sum(problem.train) >= DARK
        raw = jnp.stack([fitted('knn', X), fitted('logistic', jnp.where(lit[None], X, 0))])
        seen = left[0] @ problem.train / jnp.sum(problem.train)
        flat = length[problem.test] / X.shape[1]
        return Held(guess.astype(jnp.int8), raw.astype(jnp.int8), left[:, :, problem.test], seen, flat)

    return one


@exact
def null(shared, key):
    """Variances along the components, largest first, of the data with every pixel shuffled by itself."""
    # sorted by random bits, a pixel's values side by side: twice as fast as `jax.random.permutation`
    bits = jax.random.bits(jax.random.wrap_key_data(key), shared.T.shape)
    X = jax.lax.sort((bits, shared.T), dimension=1, num_keys=1)[1].T
    G = scatter(X, jnp.ones(len(X), X.dtype))[1] / (len(X) - 1)
    return jnp.linalg.eigvalsh(G)[::-1]


def above(variances: Float[np.ndarray, ' k'], nulls: Float[np.ndarray, 'draws k']) -> int:
    """Parallel analysis: components, from the first on, whose variance exceeds that of every null."""
    below = variances <= nulls.max(0)[:len(variances)]      # fewer digits than pixels have fewer components
    return int(below.argmax()) if below.any() else len(below)


def run(strategy, c, X, y, seeds: list[int]) -> tuple[Folds, Held, np.ndarray, float, float]:
    """(the folds, what they found, nulls [seeds, nulls, pixels], seconds compiling, seconds solving)."""
    tasks = folds(c, seeds, y)
    keys = np.stack([np.asarray(jax.random.key_data(jax.random.fold_in(jax.random.key(s), 10**6 + i)))
                     for s in seeds for i in range(c.nulls)])
    began = time.perf_counter()
    judged = spread.compile(strategy, study.in_turn(judge(c)), (X, y), tasks)
    shuffled = spread.compile(strategy, study.in_turn(null), X, keys)
    compiled = time.perf_counter()
    held, nulls = judged((X, y), tasks), shuffled(X, keys)
    return tasks, held, nulls.reshape(len(seeds), c.nulls, -1), compiled - began, time.perf_counter() - compiled


def accuracies(c, tasks: Folds, held: Held, y: np.ndarray) -> dict[str, np.ndarray]:
    """Share of the held-out digits that are told right [seeds, folds], by probe, basis and number of dimensions."""
    truth = y[tasks.test]
    share = lambda guess: np.mean(guess == truth, 1).reshape(-1, c.folds)
    out = {}
    for p, probe in enumerate(PROBES):
        out[f'{probe}_raw'] = share(held.raw[:, p])
        out |= {f'{probe}_{basis}_{d}': share(held.guess[:, p, b, i])
                for b, basis in enumerate(BASES) for i, d in enumerate(c.dims)}
    return out


def agreement(X, X_test, k: int, key) -> dict[str, dict[str, float]]:
    """How far each solver is from the singular value decomposition: the first k variances, the largest angle (degrees)
    between the spaces of the first ten components, and the error on test digits."""
    found, out = {}, {}
    for name in SOLVERS:
        model = incremental_pca(n_components=k) if name == 'incremental' else pca(n_components=k, solver=name)
        state = jax.jit(model.fit)(key, X)
        again = jax.jit(lambda s, x, m=model: m.inverse(s, m.transform(s, x)))(state, X_test)
        found[name] = np.asarray(state.explained_variance, np.float64), np.asarray(state.components, np.float64)
        variance, axes = found[name]
        ours, theirs = axes[:10], found['full'][1][:10]
        sine = np.linalg.norm(ours - ours @ theirs.T @ theirs, 2)       # the cosine of a small angle has few digits
        out[name] = {'variance': float(np.abs(variance / found['full'][0] - 1).max()),
                     'angle': float(np.degrees(np.arcsin(min(1.0, sine)))),
                     'test_mse': float(np.mean((np.asarray(again, np.float64) - X_test) ** 2))}
    return out


def reader(C: float, components: int):
    """Components, then logistic regression: pixels [rows, 784] in 0 to 1 -> digits."""
    return chain(pca(n_components=components, solver='eigh'), classifier(C))


def load(path: Path):
    """(model, state, about) of a saved `pca.safetensors` or `reader.safetensors`: the one has transform and inverse,
    the other predict and proba, of state and pixels [rows, 784] in 0 to 1.  DataError if it is none."""
    def build(about):
        if about['model'] == 'pca':
            return pca(n_components=about['components'], solver='eigh')
        return reader(about['C'], about['components'])

    return study.load(path, build)

