"""Chooses hyperparameters by nested cross-validation, compares models and rules in pairs, and keeps the fitted ones."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from common import datasets, experiment, folder, results, spread
from common.errors import UsageError
from common.progress import Progress
from common.runs import Run
from levels.level1_classical import metrics_labels, metrics_scores, study, text
from projects.level1_spam import config as config_lib
from projects.level1_spam import draw, errors, models

RECALL = 0.9


def false_alarms(y, decision, *, weight):
    """The least share of ham that is called spam at a threshold that finds 90 % of the spam."""
    curve = metrics_scores.roc_curve(y, decision, weight=weight)
    return jnp.min(jnp.where(curve.tpr >= RECALL - 1e-6, curve.fpr, 1))


of_labels = lambda fn: lambda y, decision, *, weight: fn(y, (decision > 0).astype(int), weight=weight)
METRICS = {
    'f1': of_labels(metrics_labels.f_beta), 'precision': of_labels(metrics_labels.precision),
    'recall': of_labels(metrics_labels.recall), 'auc': metrics_scores.roc_auc,
    'ap': metrics_scores.average_precision, 'false_alarms': false_alarms,
}


def folds_of(c, y: np.ndarray, seed: int) -> study.Folds:
    """The folds of one seed, each with its share of spam."""
    return study.folds('stratified', len(y), y, outer=c.folds, inner=c.inner_folds, seed=seed)


def main(run: Run) -> None:
    c, args = run.config, run.args
    if args.reduction == 'ordered':
        raise UsageError('--reduction: expected fast, found ordered: this project sums nothing over devices')
    strategy = experiment.strategy(args, spread.RULES)
    dataset = datasets.load(c.data, data_dir=args.data_dir or None)
    train, test = {k: v[:c.messages or None] for k, v in dataset.train.items()}, dataset.test
    y, seeds = train['spam'], [c.seed + i for i in range(args.seeds)]
    words, found_words = models.table(train['text'])
    folds = [folds_of(c, y, seed) for seed in seeds]
    if (most := min(models.fewest_words(found_words, f.inner.train) for f in folds)) < c.words:
        raise UsageError(f'--config.words: expected at most {most}, which each inner fold has, found {c.words}')
    run.truncate(-1)                    # what a killed run wrote at its end; the models' scores it has kept
    recipes = {name: models.recipe(name, c.words) for name in c.models}
    found, compiled, solved = study.run(strategy, recipes, found_words.toarray(), y, folds, metric='f1', seed=c.seed,
                                        output='decision', keep=run.dir / 'scores',
                                        tell=Progress(1, enabled=run.writes).say)

    guesses = {name: [rule(train['text'])] * len(seeds) for name, rule in models.RULES.items()}
    guesses |= {name: [m.out_of_fold for m in found[name]] for name in found}
    scores = {metric: {name: np.stack([study.by_fold(fn, y, g, f.outer.test) for g, f in zip(guesses[name], folds)])
                       for name in guesses} for metric, fn in METRICS.items()}      # metric -> name -> [seeds, folds]
    X_test = text.counts(test['text'], words).toarray()
    tested = {name: [jax.jit(functools.partial(recipes[name].make(**m.best).decision, m.state))(X_test)
                     for m in found[name]] for name in found}
    values = {k: v for name in found for k, v in numbers(name, scores, tested[name], test['spam']).items()}
    run.log(0, 'test', {k: np.array(v) if len(v) > 1 else v[0] for k, v in values.items()})

    comparison = {metric: study.compare(scores[metric], c.folds) for metric in ('f1', 'ap')}
    first = {name: guesses[name][0] for name in guesses}
    chances = {name: models.stated(name, first[name], y, folds[0]) for name in found}
    slices = [row for name, g in first.items() if name != 'always_ham' for row in errors.slices(name, train, g)]
    mistakes = {name: errors.worst(train['text'], y, chances[name]) for name in found}
    if run.writes:
        save(run, {name: found[name][0] for name in found}, first, words, y, dataset)
        folder.write_bytes(run.samples / 'mistakes.txt', errors.listing(mistakes, train, first).encode())
        draw.everything(run, y, {n: m[0].state for n, m in found.items()}, words, first, chances, scores,
                        comparison, slices)
    states = [{name: found[name][i].state for name in found} for i in range(len(seeds))]
    results.finish(run, results.solved(states, values, compile=compiled, train=solved), data=dataset.describe(),
                   expected=config_lib.expected(c), baseline=baseline(scores, test), comparison=comparison,
                   slices=slices, mistakes=mistakes, best={name: [m.best for m in found[name]] for name in found})


def save(run: Run, found: dict, first: dict, words: tuple[str, ...], y, dataset) -> None:
    """The models of the first seed.  The header has the vocabulary, and what makes margins of an SVM chances."""
    for name, m in found.items():
        slope = models.platt(first[name], y, np.ones(len(y))).tolist() if name.startswith('svm') else None
        study.save(run.dir / f'{name}.safetensors', m.state, {
            'model': name, 'best': m.best, 'rows': len(y), 'words': run.config.words, 'features': words,
            'platt': slope, 'predicts': 'spam where the decision is above 0', 'data': dataset.describe()})


def numbers(name: str, scores: dict, tested: list, spam: np.ndarray) -> dict[str, list[float]]:
    """What is reported of one model, a value for each seed."""
    out = {f'cv_{metric}_{name}': [float(row.mean()) for row in scores[metric][name]] for metric in METRICS}
    out[f'gain_{name}'] = [float(v) for v in (scores['f1'][name] - scores['f1']['keywords']).mean(1)]
    return out | {f'test_{metric}_{name}': [measured(metric, spam, d) for d in tested] for metric in METRICS}


def measured(metric: str, spam: np.ndarray, decision) -> float:
    return float(study.by_fold(METRICS[metric], spam, decision, np.ones((1, len(spam))))[0])


def baseline(scores: dict, test: dict) -> dict[str, float]:
    """What the rules reach."""
    out = {}
    for name, rule in models.RULES.items():
        out |= {f'cv_{metric} of {name}': float(scores[metric][name].mean()) for metric in ('f1', 'ap')}
        out[f'test_f1 of {name}'] = measured('f1', test['spam'], rule(test['text']))
    return out
