"""Chooses hyperparameters by nested cross-validation, compares the models in pairs, and keeps the fitted ones."""
import numpy as np

from common import datasets, experiment, housing, results, spread
from common.errors import UsageError
from common.progress import Progress
from common.runs import Run
from levels.level1_classical import metrics as M
from levels.level1_classical import study
from projects.level1_house_prices import config as config_lib
from projects.level1_house_prices import draw, models


def sizes(c) -> models.Sizes:
    """What the models know of a config."""
    return models.Sizes(*(c[name] for name in models.Sizes._fields))


def recipes(c) -> dict[str, study.Recipe]:
    """The models by name."""
    return {name: models.recipe(name, c.alphas, sizes(c)) for name in c.models}


def folds_of(c, n: int, seed: int) -> study.Folds:
    """The folds of one seed."""
    return study.folds('kfold', n, outer=c.folds, inner=c.inner_folds, seed=seed)


def mean_predictor(c, y: np.ndarray, seed: int) -> np.ndarray:
    """RMSE of guessing the mean of the training fold [outer]: what every model must beat."""
    return np.array([np.sqrt(np.mean((y[b] - y[a].mean()) ** 2)) for a, b in zip(*folds_of(c, len(y), seed).outer)])


def variances(c, y: np.ndarray, seed: int) -> np.ndarray:
    """The variance of each fold's test rows [outer], of which R2 is the share that is explained."""
    return np.array([y[t].astype(np.float64).var() for t in folds_of(c, len(y), seed).outer.test])


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    train, test = dataset.train, dataset.test
    seeds = [c.seed + i for i in range(args.seeds)]
    run.truncate(-1)                    # what a killed run wrote at its end; the models' scores it has kept
    x, y, all_recipes = train['x'], train['price'], recipes(c)
    folds = [folds_of(c, len(y), seed) for seed in seeds]
    found, compiled, solved = study.run(strategy, all_recipes, x, y, folds, metric='neg_mse', seed=c.seed,
                                        keep=run.dir / 'scores', tell=Progress(1, enabled=run.writes).say)
    rmse = {'mean': np.array([mean_predictor(c, y, s) for s in seeds])}
    rmse |= {name: np.array([np.sqrt(-m.score) for m in found[name]]) for name in found}
    r2 = {name: [1 + m.score / variances(c, y, s) for m, s in zip(found[name], seeds)] for name in found}
    guess = {name: [models.predict_of(name, sizes(c))(m.best, m.state, test['x']) for m in found[name]]
             for name in found}
    values = {f'{k}_{name}': v for name in found
              for k, v in numbers(guess[name], rmse[name], r2[name], rmse['mean'], test).items()}
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})
    base = {'cv_rmse of the mean': float(rmse['mean'].mean()),
            'test_rmse of the mean': float(M.rmse(test['price'], np.full_like(test['price'], train['price'].mean())))}
    comparison = study.compare(rmse, c.folds)
    slices = [row for name in found for row in draw.slices(c, name, train, found[name][0].out_of_fold)]
    if run.writes:
        first = {name: found[name][0] for name in found}
        for name, m in first.items():
            study.save(run.dir / f'{name}.safetensors', m.state, {
                'model': name, 'best': m.best, 'rows': len(y), 'sizes': sizes(c)._asdict(),
                'features': housing.FEATURES[c.data], 'predicts': 'price in thousands of dollars',
                'data': dataset.describe()})
        draw.everything(run, dataset, first, rmse, r2, comparison, slices)
    states = [{name: found[name][i].state for name in found} for i in range(len(seeds))]
    trained = results.solved(states, values, compile=compiled, train=solved)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   comparison=comparison, slices=slices,
                   best={name: [m.best for m in found[name]] for name in found})


def numbers(guess: list, rmse: np.ndarray, r2: list, mean: np.ndarray, test: dict) -> dict[str, list[float]]:
    """What is reported of one model, a value for each seed."""
    return {'cv_rmse': [float(row.mean()) for row in rmse], 'cv_r2': [float(row.mean()) for row in r2],
            'gain': [float(1 - a.mean() / b.mean()) for a, b in zip(rmse, mean)],
            'test_rmse': [float(M.rmse(test['price'], g)) for g in guess],
            'test_r2': [float(M.r2(test['price'], g)) for g in guess]}
