"""Chooses penalties by nested cross-validation, compares the models in pairs, and keeps the fitted ones."""
import time
from typing import Any, NamedTuple

import jax
import numpy as np

from common import datasets, experiment, housing, results, spread
from common.errors import UsageError
from common.runs import Run
from levels.level1_classical import metrics as M
from levels.level1_classical import model_selection as ms
from projects.level1_house_prices import config as config_lib
from projects.level1_house_prices import draw, models


class Measured(NamedTuple):
    """One model and one seed; each outer fold has the penalty that its own inner folds chose."""

    alphas: np.ndarray      # [points]
    inner: np.ndarray       # RMSE over the inner folds [outer, points]
    chosen: np.ndarray      # index of the penalty of each outer fold [outer]
    rmse: np.ndarray        # on the outer test rows [outer]
    r2: np.ndarray          # [outer]
    out_of_fold: np.ndarray  # each row's prediction by the fold that did not see it [rows]
    alpha: float            # the penalty of the final model, by the outer folds
    state: Any              # the final model, fitted on all training rows


def folds_of(c, n: int, seed: int) -> tuple[ms.Splits, ms.Splits]:
    """(outer, inner) folds of one seed: masks [outer, rows] and [outer, inner, rows]."""
    outer = ms.splits('kfold', np.zeros(n), n_splits=c.folds, shuffle=True, random_state=seed)
    return outer, ms.nested(outer, 'kfold', n_splits=c.inner_folds, shuffle=True, random_state=seed)


def compile_search(c, name: str, train: dict, strategy):
    """The program of `measure`: all folds times all penalties, folds shared among devices. One for all seeds."""
    search = ms.search(models.maker(name, c.degree, c.tol), 'neg_mse')
    return spread.compile(strategy, lambda shared, folds: search(*shared[:4], *folds, shared[4]),
                          *given(c, name, train, 0))


def given(c, name: str, train: dict, seed: int) -> tuple[tuple, tuple]:
    """(what all folds share, the folds: outer, then inner) of one seed, for the program of `compile_search`."""
    outer, inner = folds_of(c, len(train['price']), seed)
    both = ms.Splits(*(np.concatenate([o, i.reshape(-1, o.shape[1])]) for o, i in zip(outer, inner)))
    *data, fitted_on, measured_on, points = ms.arguments(train['x'], train['price'], both, models.grid(name, c.alphas))
    return (*data, points), (fitted_on, measured_on)


def measure(c, name: str, search, train: dict, seed: int) -> Measured:
    """Nested cross-validation of one model: penalties are chosen on folds that never hold a row of the outer test."""
    make, grid = models.maker(name, c.degree, c.tol), models.grid(name, c.alphas)
    x, y = train['x'], train['price']
    outer, _ = folds_of(c, len(y), seed)
    mse = -search(*given(c, name, train, seed))
    at_outer, at_inner = mse[:c.folds], mse[c.folds:].reshape(c.folds, c.inner_folds, -1)
    chosen = at_inner.mean(1).argmin(1)
    mine = at_outer[np.arange(c.folds), chosen]
    variance = np.array([y[t].astype(np.float64).var() for t in outer.test])

    def fold(mask, alpha):
        model = make(alpha)
        return model.predict(model.fit(jax.random.key(0), x, y, mask), x)

    alphas = grid['alpha'].astype(np.float32)
    guesses = np.asarray(jax.jit(jax.vmap(fold))(outer.train.astype(np.float32), alphas[chosen]))
    alpha = float(alphas[at_outer.mean(0).argmin()])
    state = jax.device_get(jax.jit(lambda a: make(a).fit(jax.random.key(0), x, y))(alpha))
    return Measured(alphas, np.sqrt(at_inner.mean(1)), chosen, np.sqrt(mine), 1 - mine / variance,
                    guesses[outer.test.argmax(0), np.arange(len(y))], alpha, state)


def mean_predictor(c, y: np.ndarray, seed: int) -> np.ndarray:
    """RMSE of guessing the mean of the training fold [outer]: what every model must beat."""
    outer, _ = folds_of(c, len(y), seed)
    return np.array([np.sqrt(np.mean((y[b] - y[a].mean()) ** 2)) for a, b in zip(*outer)])


def compare(rmse: dict[str, np.ndarray], folds: int) -> dict[str, dict[str, float]]:
    """'a - b': mean difference of RMSE with its 95 % interval, over the same folds of the same seeds, for all pairs."""
    names = list(rmse)
    return {f'{a} - {b}': ms.paired_interval(rmse[a] - rmse[b], test_share=1 / folds)
            for i, b in enumerate(names) for a in names[i + 1:]}


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    train, test = dataset.train, dataset.test
    seeds = [c.seed + i for i in range(args.seeds)]
    run.truncate(-1)                    # a run that was killed starts again, and gives the same bits
    began = time.perf_counter()
    search = {name: compile_search(c, name, train, strategy) for name in models.NAMES}
    compiled = time.perf_counter()
    found = {name: [measure(c, name, search[name], train, seed) for seed in seeds] for name in models.NAMES}
    solved = time.perf_counter()
    rmse = {'mean': np.array([mean_predictor(c, train['price'], s) for s in seeds])}
    rmse |= {name: np.array([m.rmse for m in found[name]]) for name in models.NAMES}
    values = {f'{k}_{name}': v for name in models.NAMES for k, v in numbers(c, name, found[name], rmse, test).items()}
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})
    base = {'cv_rmse of the mean': float(rmse['mean'].mean()),
            'test_rmse of the mean': float(M.rmse(test['price'], np.full_like(test['price'], train['price'].mean())))}
    slices = draw.slices(c, train, found['ridge'][0].out_of_fold)
    if run.writes:
        first = {name: found[name][0] for name in models.NAMES}
        for name, m in first.items():
            models.save(run.dir / f'{name}.safetensors', m.state, {
                'model': name, 'alpha': m.alpha, 'degree': c.degree, 'tol': c.tol, 'features': housing.FEATURES[c.data],
                'predicts': 'price in thousands of dollars', 'data': dataset.describe()})
        draw.everything(run, dataset, first, {k: v[0] for k, v in rmse.items()}, slices)
    states = [{name: found[name][i].state for name in models.NAMES} for i in range(len(seeds))]
    trained = results.solved(states, values, compile=compiled - began, train=solved - compiled)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   comparison=compare(rmse, c.folds), slices=slices,
                   alphas={name: [m.alpha for m in found[name]] for name in models.NAMES})


def numbers(c, name: str, found: list[Measured], rmse: dict, test: dict) -> dict[str, list[float]]:
    """What is reported of one model, a value for each seed."""
    model = models.maker(name, c.degree, c.tol)()
    guess = [model.predict(m.state, test['x']) for m in found]
    return {'cv_rmse': [float(m.rmse.mean()) for m in found], 'cv_r2': [float(m.r2.mean()) for m in found],
            'gain': [float(1 - a.mean() / b.mean()) for a, b in zip(rmse[name], rmse['mean'])],
            'test_rmse': [float(M.rmse(test['price'], g)) for g in guess],
            'test_r2': [float(M.r2(test['price'], g)) for g in guess]}
