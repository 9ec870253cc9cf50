"""The work that peers do as well, done here: components on the core, through `loop.fit` as any project.

Each function of `WORK` takes a Pair and gives a `Side`.  What a step does is said in `docs/benchmarks.md`; the guard
of the projects (`wrappers.with_guard`) is left out, as no peer has one.
"""
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import data, datasets, graph_data, loop, optim, runtime, strategies, tasks
from common import metrics as M
from common.evaluate import evaluator
from common.task import Task, train_fn
from common.wrappers import with_transform
from levels.level1_classical import model_selection as ms
from levels.level2_neural.mlp import MLP
from levels.level3_vision.lenet import LeNet5
from levels.level7_advanced.graphs.gcn import GCN
from levels.level7_advanced.graphs.graph import Bag, from_edges, normalise
from tools.bench import classical, inputs, ours_goals, ours_vision
from tools.bench.classical import data as classical_data
from tools.bench.classical import quality, sides
from tools.bench.forms import Pair


class Side(NamedTuple):
    """score(carry, last logged values) -> {quality's name: value}; `chunk` steps in one device call."""
    task: Task
    source: data.Source
    chunk: int
    score: Callable[[Any, dict], dict]


def digits(pair: Pair, model, data_dir: str) -> Side:
    ds, size = datasets.load('mnist_5k'), pair.sizes
    order = data.Order(len(ds.train['label']), size['batch'], seed=0)
    task = with_transform(tasks.classifier(model, optax.adam(size['rate'])), inputs.scaled)
    score = evaluator(task, ds.test, batch_size=1000)
    return Side(task, data.resident(ds.train, order), order.steps_per_epoch,
                lambda carry, _: {'accuracy': score(carry)['accuracy']})


def mnist_mlp(pair: Pair, data_dir: str) -> Side:
    return digits(pair, MLP(pair.sizes['hidden'], 10), data_dir)


def lenet(pair: Pair, data_dir: str) -> Side:
    return digits(pair, LeNet5(), data_dir)


def gpt(pair: Pair, data_dir: str) -> Side:
    from projects.level5_mini_gpt import config, experiment, model
    c = config.get_config('shakespeare')
    c.data, c.ngram = 'king_james', 0
    book = experiment.load(c, None)
    _, task = model.build(c, book.tokenizer)
    return Side(task, data.windows(book.train, c.context + 1, c.batch_size, seed=0), 25,
                lambda _, last: {'loss': last['loss']})


def ppo(pair: Pair, data_dir: str) -> Side:
    from levels.level6_reinforcement import ppo
    agent = ppo.ppo(ppo.Config(**pair.sizes))
    total = (pair.repeats + 1) * pair.steps

    def score(_, last):
        if pair.seeds == 1:
            return last
        run, returns = jax.jit(train_fn(agent.task, total)), [last['return']]
        for seed in range(1, pair.seeds):       # one program for all, in turn: untimed
            found = run(jax.random.key(seed))[1]['return']
            returns.append(float(jnp.sum(found.total[-pair.steps:]) / jnp.sum(found.weight[-pair.steps:])))
        return {'return': returns}

    return Side(agent.task, data.constant(None), pair.steps, score)


def gcn_cora(pair: Pair, data_dir: str) -> Side:
    size, g = pair.sizes, graph_data.load('cora', data_dir=data_dir or None)
    train, _, test = inputs.cora_masks(g.label)
    count = np.bincount(g.row, minlength=g.nodes)
    bag = Bag(g.row, g.column, (1 / count[g.row]).astype(np.float32), (g.nodes, g.words))
    both = np.concatenate([g.link, g.link[:, ::-1]]).T
    graph = jax.tree.map(np.asarray, normalise(from_edges(both, bag)))      # as PyG's cached=True
    model = GCN((size['hidden'], len(g.classes)), dropout=size['dropout'], norm='done')

    def init(key, batch):
        return model.init(key, batch['graph'])['params'], {}

    def loss_fn(params, extra, batch, key, train):
        logits = model.apply({'params': params}, batch['graph'], train=train, rngs={'dropout': key}).nodes
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch['label'])
        hit = jnp.argmax(logits, -1) == batch['label']
        return M.mean(losses, batch['train']), (extra, {'accuracy': M.mean(hit, batch['test'])})

    tx = optax.chain(optax.add_decayed_weights(size['decay']), optax.adam(size['rate']))
    task = optim.gradient_task(init, loss_fn, tx)
    batch = {'graph': graph, 'label': g.label, 'train': train.astype(np.float32), 'test': test.astype(np.float32)}
    look = jax.jit(lambda carry, batch: task.evaluate(carry.key, carry.state, batch)['accuracy'].value)
    return Side(task, data.constant(batch), pair.steps, lambda carry, _: {'accuracy': look(carry, batch)})


def photographs(pair: Pair, data_dir: str) -> Side:
    return Side(*ours_vision.train(pair), 1, lambda _, last: {'loss': last['loss']})


WORK = {'mnist_mlp': mnist_mlp, 'lenet': lenet, 'gpt': gpt, 'ppo_4': ppo, 'ppo_16': ppo, 'ppo_64': ppo,
        'gcn_cora': gcn_cora}


def serve(pair: Pair, bell, data_dir: str, total: int) -> None:
    """Our side of a pair, in turns."""
    runtime.malloc_tuning()         # as every run has by default
    if pair.goal is not None:
        ours_goals.serve(pair, bell, data_dir)
        return
    vision = pair.group == 'vision'
    if pair.name == 'ridge_cv' or pair.group == 'classical' or (vision and not pair.sizes['train']):
        (_ridge if pair.name == 'ridge_cv' else ours_vision.infer if vision else _estimator)(pair, bell)
        return
    side = (photographs if vision else WORK[pair.name])(pair, data_dir)
    chunk = next(n for n in range(min(side.chunk, pair.steps), 0, -1) if pair.steps % n == 0)
    strategy = strategies.pmap() if ours_vision.shared_by() > 1 else strategies.jit()
    last: dict = {}
    began = time.perf_counter()

    def resumed(_: int) -> None:    # compiled, and before the first step
        bell.send(ready={'compile_s': time.perf_counter() - began, 'steps_per_call': chunk})
        bell.wait()

    def log(step: int, values: dict, seconds: float) -> None:
        last.update(values)
        bell.report()
        bell.wait()         # for the next turn, or, when all are over, to be judged

    fitted = loop.fit(side.task, side.source, steps=total, key=jax.random.key(0), strategy=strategy,
                      steps_per_call=chunk, log_every=pair.steps, log=log, resumed=resumed)
    bell.judged({pair.quality.name: side.score(fitted.carry, last)[pair.quality.name]})


def _estimator(pair: Pair, bell) -> None:
    row = classical.row(pair.name)
    d = classical_data.made(row.data, pair.sizes)
    began = time.perf_counter()
    one = sides.Ours(row, d)
    bell.send(ready={'compile_s': time.perf_counter() - began})
    for _ in range(pair.repeats + 1):
        bell.wait()
        one.run(pair.steps)
        bell.report()
    bell.wait()
    bell.judged(quality.judged(row, d, one))


def _ridge(pair: Pair, bell) -> None:
    X, y, alphas, folds = inputs.ridge(pair)
    search = functools.partial(ms.ridge_search, X, y, ms.masks(folds, len(y)), alphas)
    search()                        # compiles
    bell.send(ready={})
    for _ in range(pair.repeats + 1):
        bell.wait()
        for _ in range(pair.steps):
            found = search()
        bell.report()
    bell.wait()
    bell.judged({'r2': found.scores.mean(0).max(), 'alpha': found.best['alpha']})
