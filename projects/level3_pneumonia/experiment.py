"""Trains a small network, chooses thresholds and a temperature on validation rows, and measures on test rows."""
import functools

import numpy as np
from scipy.special import expit

from common import data, datasets, evaluate, experiment, plots, results
from common.runs import Run, read_metrics
from projects.level3_pneumonia import chest, draw, maps, measures, models
from projects.level3_pneumonia import config as config_lib

SYNTHETIC = 'synthetic_chest'


def load(c, data_dir: str | None) -> datasets.Dataset:
    """The data set of a config; synthetic pictures are the same for every seed of training."""
    return chest.dataset(c.patients, c.split) if c.data == SYNTHETIC else datasets.load(c.data, data_dir=data_dir)


def parts(dataset: datasets.Dataset) -> dict[str, dict[str, np.ndarray]]:
    """train, validation, test: columns."""
    held = dataset.train['validation'] == 1
    cut = {'train': ~held, 'validation': held}
    return {name: {k: v[rows] for k, v in dataset.train.items()} for name, rows in cut.items()} | {
        'test': dict(dataset.test)}


def shared_patients(rows: dict[str, dict]) -> int:
    """How many patients are in the training rows and in others; -1 where nobody knows."""
    if 'patient' not in rows['train']:
        return -1
    others = np.concatenate([rows[k]['patient'] for k in ('validation', 'test')])
    return len(np.intersect1d(rows['train']['patient'], others))


def scorer(c, rows: dict[str, dict]):
    """carry -> what is measured on the test rows with what the validation rows chose; arrays [seeds] for several."""
    logit = models.logit(c, rows['train']['label'])

    def of_seed(state) -> dict[str, float]:
        z = {k: logit(state, rows[k]['image']) for k in ('validation', 'test')}
        chosen = measures.choose(rows['validation']['label'], z['validation'], c.specificity)
        return measures.measure(rows['test']['label'], z['test'], chosen, c.bins)

    return functools.partial(evaluate.by_seed, of_seed)


def baselines(c, rows: dict[str, dict]) -> tuple[dict[str, float], np.ndarray]:
    """(accuracy and AUROC of logistic regression and, of synthetic pictures, the bound), its log-odds of the test."""
    y, test = rows['validation']['label'], rows['test']
    z = models.logistic(c, rows['train'], rows)
    chosen = measures.choose(y, z['validation'], c.specificity)
    found = measures.measure(test['label'], z['test'], chosen, c.bins)
    base = {f'logistic regression: {k}': found[k] for k in ('accuracy', 'auroc', 'sensitivity', 'ece')}
    base['the more frequent class: accuracy'] = float(max(test['label'].mean(), 1 - test['label'].mean()))
    if 'llr' in test:
        base['bound, an observer who knows all but whether a shadow is there: accuracy'] = float(
            (chest.observer(test) == test['label']).mean())
    return base, z['test']


def main(run: Run) -> None:
    c = run.config
    dataset = load(c, run.args.data_dir or None)
    rows = parts(dataset)
    train = {k: rows['train'][k] for k in ('image', 'label')}
    source = lambda seed: data.resident(train, data.Order(len(train['label']), c.batch_size, seed=seed))
    trained = experiment.train(run, models.build(c, train['label']), source, evaluate=scorer(c, rows))
    if 'mask' in rows['test']:
        found = [maps.pointing(c, carry.state, rows['test']) for carry in trained.carries]
        trained.metrics.update({k: [f[k] for f in found] for k in found[0]})
    base, straight = baselines(c, rows)
    shared = shared_patients(rows)
    if run.writes:
        what = 'SYNTHETIC radiographs' if c.data == SYNTHETIC else c.data
        pictures(run, rows, [carry.state for carry in trained.carries], straight, base, what)
        if c.data == SYNTHETIC:
            print('SYNTHETIC data: made by a program; these numbers say nothing about patients')
        print('patients in both training and other rows: ' + (str(shared) if shared >= 0 else 'not known'))
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   synthetic=c.data == SYNTHETIC, shared_patients=shared,
                   parts={k: len(v['label']) for k, v in rows.items()})


def pictures(run: Run, rows: dict[str, dict], states: list, straight: np.ndarray, base: dict, what: str) -> None:
    """All figures; where one seed is shown it is the first."""
    c, test = run.config, rows['test']
    logit = models.logit(c, rows['train']['label'])
    z = {k: [logit(s, rows[k]['image']) for s in states] for k in ('validation', 'test')}
    chosen = measures.choose(rows['validation']['label'], z['validation'][0], c.specificity)
    p = expit(z['test'][0] / chosen.temperature)
    called = (z['test'][0] >= chosen.balanced).astype(int)
    level = {k: {'logistic regression': base[f'logistic regression: {k}']} for k in ('accuracy', 'auroc')}
    figures = {
        'curves': plots.curves(read_metrics(run.dir), [('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy'),
                                                       ('auroc', 'AUROC')], f'CNN on {what}', level),
        'roc': draw.roc(test['label'], z['test'], straight, chosen, what),
        'reliability': draw.reliability(test['label'], z['test'], rows['validation']['label'], z['validation'],
                                        c.bins, what),
        'confusion': plots.confusion(test['label'], called, ('well', 'sick'), f'CNN on {what}, seed {c.seed}'),
        **draw.overlays(test, called, p, lambda some: maps.heat(c, states[0], some), what)}
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')
