"""Trains plain and residual networks of several depths side by side, and shows what depth does to either kind."""
import functools

import jax
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from common import data, datasets, experiment, results
from common.evaluate import evaluator
from common.runs import Run
from common.task import Task, start
from projects.level3_mini_resnet import config as config_lib
from projects.level3_mini_resnet import draw, training
from projects.level3_mini_resnet.training import KINDS, ROWS


def baselines(c, train: dict, test: dict, scaled) -> dict[str, float]:
    """Test accuracy of logistic regression and of an RBF support vector machine on the pixels that the networks see."""
    if not c.baseline_rows:
        return {}
    pick = data.permutation(len(train['label']), 0, 0)[:c.baseline_rows]
    flat = lambda images: np.asarray(scaled({'image': images})['image']).reshape(len(images), -1)
    models = {'logistic regression': LogisticRegression(max_iter=200), 'RBF SVM': SVC(C=5)}
    return {name: float(m.fit(flat(train['image'][pick]), train['label'][pick]).score(flat(test['image']),
                                                                                     test['label']))
            for name, m in models.items()}


def variables(fit) -> dict:
    """What a network is applied with, from its part of the state."""
    return {'params': fit.params, **fit.extra}


def measured(task: Task, nets: dict, carries: list, seeds: list[int], rows: dict) -> dict[str, dict]:
    """Of each network: Inside at the start and at the end, arrays [seeds, blocks]."""
    begin = jax.jit(functools.partial(start, task))
    first = [begin(jax.random.key(seed), rows).state for seed in seeds]
    last = [carry.state for carry in carries]
    found = {}
    for name, net in nets.items():
        look = training.inside(net)
        of = lambda states, name=name, look=look: jax.tree.map(lambda *x: np.stack(x), *(
            jax.device_get(look(variables(s[name]), rows['ready'], rows['label'])) for s in states))
        found[name] = {'start': of(first), 'end': of(last)}
    return found


def compare(c, metrics: dict[str, list[float]]) -> dict[str, dict]:
    """Residual minus plain at each depth, and deepest minus shallowest of each kind, with intervals over seeds."""
    of = lambda metric, kind, depth: np.array(metrics[f'{metric}_{kind}_{depth}'])
    found = {}
    for metric in ('train_loss', 'accuracy'):
        for depth in c.depths:
            found[f'{metric}: residual - plain at {depth}'] = of(metric, 'residual', depth) - of(metric, 'plain', depth)
        for kind in KINDS:
            more, less = (of(metric, kind, c.depths[i]) for i in (-1, 0))
            found[f'{metric}: {kind}, {c.depths[-1]} - {c.depths[0]}'] = more - less
    return {name: results.interval(list(map(float, values))) for name, values in found.items()}


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    train, test = dataset.train, dataset.test
    scaled, seeds = training.ready(c, train['image']), [c.seed + i for i in range(run.args.seeds)]
    nets = training.networks(c, int(train['label'].max()) + 1)
    task = training.build(c, nets, scaled)
    source = lambda seed: data.resident(train, data.Order(len(train['label']), c.batch_size, seed=seed))
    trained = experiment.train(run, task, source, evaluate=test)       # convolutions gain nothing from vmapped seeds

    seen = evaluator(task, train, batch_size=min(1000, len(train['label'])))
    for values in (seen(carry._replace(key=jax.random.key(0))) for carry in trained.carries):    # nothing is drawn
        for name in nets:
            trained.metrics.setdefault(f'train_loss_{name}', []).append(float(values[f'loss_{name}']))
    pick = data.permutation(len(train['label']), 1, 0)[:ROWS]
    rows = {k: v[pick] for k, v in train.items()}
    norms = measured(task, nets, trained.carries, seeds, {**rows, 'ready': np.asarray(scaled(rows)['image'])})
    for kind in KINDS:      # how much the loss's slope grows on its way back through the deepest network, at the start
        slope = norms[f'{kind}_{c.depths[-1]}']['start'].slope
        trained.metrics[f'growth_{kind}'] = list(map(float, slope[:, 0] / slope[:, -1]))
        deep, flat = (trained.metrics[f'train_loss_{kind}_{c.depths[i]}'] for i in (-1, 0))
        trained.metrics[f'degradation_{kind}'] = [a - b for a, b in zip(deep, flat)]
    base = baselines(c, train, test, scaled)
    found = compare(c, trained.metrics)
    if run.writes:
        draw.everything(run, nets, trained, norms, test, scaled, base)
    results.finish(
        run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base, comparison=found,
        networks={name: {'blocks': list(net.blocks), 'parameters': draw.count(trained.carries[0].state[name].params)}
                  for name, net in nets.items()})
