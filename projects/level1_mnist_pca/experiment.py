"""Finds how many components MNIST has, what they keep and are good for, draws maps, and keeps the fitted models."""
from typing import Any, NamedTuple

import jax
import numpy as np

from common import data, datasets, experiment, results, spread
from common.errors import UsageError
from common.runs import Run
from levels.level1_classical import study
from levels.level1_classical.unsupervised.pca import pca
from projects.level1_mnist_pca import config as config_lib
from projects.level1_mnist_pca import draw, maps, programs


class Fitted(NamedTuple):
    """What is fitted on all training digits: all components, those that are kept, and a reader of digits."""

    whole: Any
    kept: Any
    reader: Any


class Found(NamedTuple):
    """What a run found, for the pictures and the numbers."""

    fitted: Fitted
    variances: np.ndarray               # of the digits in the folds, as the nulls are
    nulls: np.ndarray                   # [seeds, nulls, pixels]
    tasks: programs.Folds
    held: programs.Held
    accuracy: dict[str, np.ndarray]     # name -> [seeds, folds]
    maps: list[dict[str, maps.Map]]
    map_rows: list[np.ndarray]


def flat(images: np.ndarray) -> np.ndarray:
    """Pixels [rows, 784] in 0 to 1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def fit(c, X: np.ndarray, y: np.ndarray) -> Fitted:
    """The models of all training digits."""
    key = jax.random.key(c.seed)
    whole = jax.device_get(jax.jit(pca(solver='eigh').fit)(key, X))
    enough = 1 + int(np.argmax(np.cumsum(whole.explained_variance_ratio, dtype=np.float64) >= c.keep))
    reader = jax.device_get(jax.jit(programs.reader(c.C, enough).fit)(key, X, y))
    return Fitted(whole, reader[0], reader[1])


def numbers(c, found: Found, test: tuple[np.ndarray, np.ndarray], labels: np.ndarray) -> dict[str, list[float]]:
    """What is reported, a value for each seed."""
    seeds = len(found.nulls)
    mean = lambda v: v.mean(1).astype(float).tolist()
    values = {f'accuracy_{name}': mean(v) for name, v in found.accuracy.items()}
    values['margin_random'] = mean(found.accuracy[f'knn_pca_{c.shown}'] - found.accuracy[f'knn_random_{c.shown}'])
    values['margin_raw'] = mean(found.accuracy[f'knn_pca_{c.shown}'] - found.accuracy['knn_raw'])
    for b, basis in enumerate(programs.BASES):
        error = found.held.error[:, b].astype(np.float64).mean(2).reshape(seeds, c.folds, -1)
        values |= {f'mse_{basis}_{r}': mean(error[:, :, i]) for i, r in enumerate(c.ranks)}
    values |= {f'mse_seen_{r}': mean(found.held.seen[:, i].reshape(seeds, -1)) for i, r in enumerate(c.ranks)}
    values['mse_mean_digit'] = mean(found.held.flat.astype(np.float64).mean(1).reshape(seeds, -1))
    values['components_kept'] = [float(len(found.fitted.kept.components))] * seeds
    values['components_parallel'] = [float(programs.above(found.variances, draws)) for draws in found.nulls]
    values['test_accuracy_reader'] = [float(np.mean(read(c, found.fitted, test[0]) == test[1]))] * seeds
    for name in maps.NAMES:
        mine = [m[name] for m in found.maps]
        values[f'trust_{name}'] = [m.trust for m in mine]
        values[f'map_accuracy_{name}'] = [float(np.mean(m.guess == labels[rows]))
                                          for m, rows in zip(mine, found.map_rows)]
        if c.placed and mine[0].new_guess is not None:
            values[f'placed_accuracy_{name}'] = [float(np.mean(m.new_guess == test[1][:c.placed])) for m in mine]
    return values


def read(c, fitted: Fitted, X: np.ndarray) -> np.ndarray:
    """What the reader says."""
    model = programs.reader(c.C, len(fitted.kept.components))
    return np.asarray(jax.jit(model.predict)((fitted.kept, fitted.reader), X))


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    X, y = flat(dataset.train['image']), dataset.train['label']
    test = flat(dataset.test['image']), dataset.test['label']
    for name in ('rows', 'map_rows'):
        if c[name] > len(X):
            raise UsageError(f'--config.{name}: expected at most {len(X)}, the digits of {c.data}, found {c[name]}')
    run.truncate(-1)                    # a run that was killed starts again, and gives the same bits
    seeds = [c.seed + i for i in range(args.seeds)]
    some = np.sort(data.permutation(len(X), 0, 0)[:c.rows or len(X)])
    tasks, held, nulls, compiled, solved = programs.run(strategy, c, X[some], y[some], seeds)
    fitted = fit(c, X, y)
    variances = fitted.whole.explained_variance if len(some) == len(X) else np.asarray(
        jax.jit(pca(solver='eigh').fit)(jax.random.key(0), X[some]).explained_variance)
    rows = [np.sort(data.permutation(len(X), seed, 1)[:c.map_rows]) for seed in seeds]
    drawn = [maps.drawn(X[r], y[r], test[0][:c.placed], seed=seed, steps=c.map_steps) for r, seed in zip(rows, seeds)]
    found = Found(fitted, variances, nulls, tasks, held, programs.accuracies(c, tasks, held, y[some]), drawn, rows)
    values = numbers(c, found, test, y)
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})
    kept, slices = len(fitted.kept.components), draw.slices(c, found, y[some], y)
    if run.writes:
        about = {'components': kept, 'keep': c.keep, 'C': c.C, 'rows': len(X), 'data': dataset.describe(),
                 'features': [f'pixel {i // 28}, {i % 28}: 0 to 1' for i in range(X.shape[1])]}
        study.save(run.dir / 'pca.safetensors', fitted.kept, about | {'model': 'pca'})
        study.save(run.dir / 'reader.safetensors', (fitted.kept, fitted.reader), about | {'model': 'reader'})
        draw.everything(run, found, values, test, y, slices)
    states = [{'pca': fitted.kept, 'reader': fitted.reader, 'maps': {n: m.place for n, m in each.items()}}
              for each in drawn]
    names = [f'{p}_{b}' for p in programs.PROBES for b in ('raw', *(f'{basis}_{c.shown}' for basis in programs.BASES))]
    results.finish(run, results.solved(states, values, compile=compiled, train=solved), data=dataset.describe(),
                   expected=config_lib.expected(c), slices=slices,
                   comparison=study.compare({n: 1 - found.accuracy[n] for n in names}, c.folds),
                   solvers=programs.agreement(X[some], test[0], kept, jax.random.key(c.seed)),
                   baseline={f'accuracy of {c.shown} random directions': float(
                       np.mean(values[f'accuracy_knn_random_{c.shown}'])),
                       'map accuracy of two random directions': float(np.mean(values['map_accuracy_random'])),
                       'squared error of the mean digit': float(np.mean(values['mse_mean_digit']))})
