"""Three tables of equal length: a measured one, one whose truth is curved, one whose truth is a straight line."""
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from sklearn.datasets import make_friedman1

from common import data, datasets, housing
from levels.level1_classical import model_selection as ms

NAMES = ('houses', 'curved', 'line')
TITLES = {'houses': 'house prices', 'curved': 'curved truth (Friedman)', 'line': 'straight truth'}
NOISE = {'curved': 1.0, 'line': 1.0}            # standard deviation: no model has a smaller RMSE on new rows
SLOPES = np.array([6.0, -5.0, 4.0, -3.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0])


class Tables(NamedTuple):
    """[rows, tables, columns], narrower tables filled up with columns of zeros, and what is to be predicted."""

    x: Float[np.ndarray, 'rows tables columns']
    y: Float[np.ndarray, 'rows tables']
    columns: dict[str, tuple[str, ...]]


class Folds(NamedTuple):
    """Of every seed and fold: rows scaled by its training rows, and what scales back.

    x: [rows, seeds, folds, tables, columns], y: [rows, seeds, folds, tables], both by mean and standard deviation of
    the training rows; mean, std of y: [seeds, folds, tables]; test: [rows, seeds, folds].
    """

    x: Float[np.ndarray, 'rows seeds folds tables columns']
    y: Float[np.ndarray, 'rows seeds folds tables']
    mean: Float[np.ndarray, 'seeds folds tables']
    std: Float[np.ndarray, 'seeds folds tables']
    test: Bool[np.ndarray, 'rows seeds folds']


def build(dataset: datasets.Dataset) -> Tables:
    """The training rows of the measured table, and as many made ones."""
    x, y = dataset.train['x'].astype(np.float64), dataset.train['price'].astype(np.float64)
    n = len(y)
    curved = make_friedman1(n, n_features=10, noise=NOISE['curved'], random_state=0)
    rng = np.random.RandomState(1)      # NumPy keeps its streams for ever
    straight = rng.uniform(size=(n, 10))
    tables = [(x, y), curved, (straight, straight @ SLOPES + NOISE['line'] * rng.normal(size=n))]
    widest = max(x.shape[1] for x, _ in tables)
    wide = np.stack([np.pad(x, ((0, 0), (0, widest - x.shape[1]))) for x, _ in tables], 1)
    made = tuple(f'x{i + 1}' for i in range(10))
    return Tables(wide, np.stack([y for _, y in tables], 1),
                  {'houses': tuple(housing.FEATURES[dataset.name]), 'curved': made, 'line': made})


def fold(tables: Tables, folds: int, seeds: list[int]) -> Folds:
    """Cuts rows into folds, once for each seed, and scales each fold by its own training rows."""
    n = len(tables.y)
    test = np.stack([ms.splits('kfold', np.zeros(n), n_splits=folds, shuffle=True, random_state=s).test for s in seeds])
    scaled = [[_scaled(tables, ~rows) for rows in of_seed] for of_seed in test]
    x, y, mean, std = (np.stack([np.stack(part) for part in parts]) for parts in zip(
        *([[fold[i] for fold in of_seed] for i in range(4)] for of_seed in scaled)))
    front = lambda v: np.ascontiguousarray(np.moveaxis(v, 2, 0), np.float32)
    return Folds(front(x), front(y), mean, std, np.moveaxis(test, 2, 0))


def _scaled(tables: Tables, train: Bool[np.ndarray, ' rows']):
    """(x, y, mean of y, standard deviation of y), by the training rows; gaps get the median, columns without spread
    stay 0."""
    x = np.where(np.isnan(tables.x), np.nanmedian(tables.x[train], 0), tables.x)
    spread = x[train].std(0)
    x = (x - x[train].mean(0)) / np.where(spread > 0, spread, 1.0)
    mean, std = tables.y[train].mean(0), tables.y[train].std(0)
    return x, (tables.y - mean) / std, mean, std


def source(folds: Folds, batch_size: int, which: int, seed: int) -> data.Source:
    """Batches of one seed: x [batch, folds, tables, columns], y and mask [batch, folds, tables], which [batch].

    Every row is in each batch's folds but the one that tests on it: there its mask is 0.
    """
    order = data.Order(len(folds.y), batch_size, seed=seed)

    def host(step, rows):
        index = order(step)[rows].astype(np.int32)
        return {'index': index, 'which': np.full(len(index), which, np.int32)}

    return data.Source(host, batch, folds, batch_size)


def batch(folds: Folds, host: dict[str, Array]) -> dict[str, Array]:
    """The rows of a step, out of what lies on the device."""
    at = host['index'], host['which']
    y = jnp.asarray(folds.y)[at]
    mask = jnp.broadcast_to(~jnp.asarray(folds.test)[at][..., None], y.shape)
    return {'x': jnp.asarray(folds.x)[at], 'y': y, 'mask': mask.astype(jnp.float32), 'which': host['which']}
