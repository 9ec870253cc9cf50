"""Trains an MLP whose gradients and optimiser are written out by hand, and draws what it learned and got wrong."""
import warnings

import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from common import data, datasets, experiment, results
from common.runs import Run
from common.task import Task
from common.wrappers import with_transform
from levels.level0_foundations.optimisers import sgd
from levels.level2_neural import backprop, backprop_task
from levels.level2_neural.backprop_norms import batch_norm, layer_norm
from projects.level2_mlp_from_scratch import config as config_lib
from projects.level2_mlp_from_scratch import draw

NORMS = {'none': (), 'batch': (batch_norm,), 'layer': (layer_norm,)}


def network(c) -> backprop.Chain:
    """dense - norm - activation - dropout for each hidden layer, then dense."""
    layers = []
    for width in c.hidden:
        layers += [backprop.dense(width), *(norm() for norm in NORMS[c.norm]), backprop.activation(c.activation)]
        layers += [backprop.dropout(c.dropout)] if c.dropout else []
    return backprop.chain(*layers, backprop.dense(10), head=backprop.softmax_cross_entropy_head())


def scaled(batch: dict) -> dict:
    """Pixels 0..255 with about mean 0 and variance 1."""
    return {**batch, 'image': (batch['image'].astype(jnp.float32) / 255 - 0.13) / 0.31}


def descent(c):
    """Gradient descent with momentum, its rate along half a cosine."""
    return sgd(lambda count: c.rate / 2 * (1 + jnp.cos(jnp.pi * jnp.minimum(count / c.steps, 1))), momentum=c.momentum)


def build(c) -> tuple[backprop.Chain, Task]:
    """(network, task) of a config."""
    net = network(c)
    return net, with_transform(backprop_task.chain_task(net, descent(c), x='image', y='label', accum=c.accum), scaled)


def baselines(c, train: dict, test: dict) -> dict[str, float]:
    """Test accuracy of a linear model and of scikit-learn's MLP of these widths, which has no norm and no dropout."""
    if not c.baseline_rows:
        return {}
    pick = data.permutation(len(train['label']), 0, 0)[:c.baseline_rows]
    flat = lambda d, i=slice(None): np.asarray(backprop_task.flat(scaled({'image': d['image'][i]})['image']))
    models = {'logistic regression': LogisticRegression(max_iter=200),
              'MLP of scikit-learn': MLPClassifier(tuple(c.hidden), solver='sgd', learning_rate_init=0.02, max_iter=30,
                                                   n_iter_no_change=30, random_state=0)}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', ConvergenceWarning)     # a fixed number of passes, as ours
        return {name: float(m.fit(flat(train, pick), train['label'][pick]).score(flat(test), test['label']))
                for name, m in models.items()}


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    train, test = dataset.train, dataset.test
    net, task = build(c)
    source = lambda seed: data.resident(train, data.Order(len(train['label']), c.batch_size, seed=seed))
    trained = experiment.train(run, task, source, evaluate=test, vmap_helps=True)
    base = baselines(c, train, test)
    if run.writes:
        draw.everything(run, net, trained.carries[0].state, scaled(train)['image'], train['label'],
                        scaled(test)['image'], test, base)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base)
