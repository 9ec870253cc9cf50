"""Chooses hyperparameters by nested cross-validation, compares models and rules in pairs, and keeps the fitted ones."""
import functools

import jax
import numpy as np

from common import datasets, experiment, passengers, results, spread
from common.errors import UsageError
from common.progress import Progress
from common.runs import Run
from levels.level1_classical import metrics_labels, metrics_scores, study
from levels.level1_classical.ensembles.permutation import permutation_importance
from projects.level1_titanic import config as config_lib
from projects.level1_titanic import draw, models

METRICS = {
    'accuracy': lambda y, p, **kw: metrics_labels.accuracy(y, (p[:, 1] > 0.5).astype(int), **kw),
    'auc': lambda y, p, **kw: metrics_scores.roc_auc(y, p[:, 1], **kw),
    'log_loss': metrics_scores.log_loss,
}


def recipes(c) -> dict[str, study.Recipe]:
    """The models by name."""
    return {name: models.recipe(name, c.trees, c.rounds) for name in c.models}


def folds_of(c, y: np.ndarray, seed: int) -> study.Folds:
    """The folds of one seed, each with its share of survivors."""
    return study.folds('stratified', len(y), y, outer=c.folds, inner=c.inner_folds, seed=seed)


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    x, y, test = dataset.train['x'], dataset.train['survived'], dataset.test
    seeds = [c.seed + i for i in range(args.seeds)]
    run.truncate(-1)                    # what a killed run wrote at its end; the models' scores it has kept
    all_recipes, folds = recipes(c), [folds_of(c, y, seed) for seed in seeds]
    tell = Progress(1, enabled=run.writes).say
    found, compiled, solved = study.run(strategy, all_recipes, x, y, folds, metric='neg_log_loss', seed=c.seed,
                                        output='proba', keep=run.dir / 'scores', tell=tell)
    guesses = {name: [models.out_of_fold(name, x, y, f) for f in folds] for name in models.RULES}
    guesses |= {name: [m.out_of_fold for m in found[name]] for name in found}
    scores = {metric: {name: np.stack([study.by_fold(fn, y, g, f.outer.test) for g, f in zip(guesses[name], folds)])
                       for name in guesses} for metric, fn in METRICS.items()}      # metric -> name -> [seeds, folds]
    said = {name: models.proba_of(name, c.trees, c.rounds) for name in found}
    tested = {name: [said[name](m.best, m.state, test['x']) for m in found[name]] for name in found}
    values = {k: v for name in found for k, v in numbers(name, scores, tested[name], test['survived']).items()}
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})

    groups = draw.groups(x, passengers.FEATURES[c.data])
    slices = [row for name in found for row in draw.slices(name, groups, y, guesses[name][0])]
    comparison = {metric: study.compare(scores[metric], c.folds) for metric in METRICS}
    first = {name: found[name][0] for name in found}
    importance = {name: importance_of(c, name, first[name], test) for name in draw.some(found, draw.LEANING)}
    if run.writes:
        for name, m in first.items():
            study.save(run.dir / f'{name}.safetensors', m.state, {
                'model': name, 'best': m.best, 'rows': len(y), 'trees': c.trees, 'rounds': c.rounds,
                'features': passengers.FEATURES[c.data], 'predicts': 'chances of (not surviving, surviving)',
                'data': dataset.describe()})
        draw.everything(run, dataset, first, {n: g[0] for n, g in guesses.items()}, scores, comparison, slices,
                        importance)
    states = [{name: found[name][i].state for name in found} for i in range(len(seeds))]
    trained = results.solved(states, values, compile=compiled, train=solved)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c),
                   baseline=baseline(scores, x, y, test), comparison=comparison, slices=slices,
                   importance={n: dict(zip(passengers.FEATURES[c.data], map(float, v.mean(1))))
                               for n, v in importance.items()},
                   best={name: [m.best for m in found[name]] for name in found})


def numbers(name: str, scores: dict, tested: list, survived: np.ndarray) -> dict[str, list[float]]:
    """What is reported of one model, a value for each seed."""
    out = {f'cv_{metric}_{name}': [float(row.mean()) for row in scores[metric][name]] for metric in METRICS}
    out[f'gain_{name}'] = [float(v) for v in (scores['accuracy'][name] - scores['accuracy']['women']).mean(1)]
    return out | {f'test_{metric}_{name}': [whole(metric, survived, p) for p in tested] for metric in METRICS}


def whole(metric: str, y: np.ndarray, proba) -> float:
    """A metric of all rows."""
    return float(study.by_fold(METRICS[metric], y, proba, np.ones((1, len(y))))[0])


def baseline(scores: dict, x: np.ndarray, y: np.ndarray, test: dict) -> dict[str, float]:
    """What the rules reach."""
    out = {}
    for name, rule in models.RULES.items():
        state = rule.fit(None, x, y.astype(np.float32), np.ones(len(y), np.float32))
        said = rule.proba(state, test['x'])
        for metric in METRICS:
            out[f'cv_{metric} of {name}'] = float(scores[metric][name].mean())
            out[f'test_{metric} of {name}'] = whole(metric, test['survived'], said)
    return out


def importance_of(c, name: str, m: study.Measured, test: dict) -> np.ndarray:
    """How much worse the log loss of the test rows gets when a column is shuffled: [features, shuffles]."""
    model = models.make(name, c.trees, c.rounds, **m.best)
    loss = lambda state, X, y, w: -metrics_scores.log_loss(y, model.proba(state, X), weight=w)
    drops = functools.partial(permutation_importance, model._replace(score=loss), key=jax.random.key(c.seed),
                              n_repeats=c.shuffles)
    return np.asarray(jax.jit(drops)(m.state, test['x'], test['survived']))
