"""A search for the rate, weight decay and dropout of a network, in trials side by side, and what it was worth.

The search (TPE) trains on four fifths of the training images and is scored on the others; it never sees a test image.
Its best configuration and the untuned one are then trained anew on all training images, from the same keys and in the
same batches, and tested.  The search takes `trials` times `trial_steps` steps, and resumes where it was killed.
"""
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from common import data, datasets, optim, plots, results, tasks
from common import experiment as experiment_lib
from common.runs import Run
from common.task import Task, train_fn
from common.wrappers import with_augment, with_transform
from levels.level2_neural.tuning.contract import Table, Tuner, from_task, ranking, spent
from levels.level2_neural.tuning.space import LogUniform, Uniform
from levels.level2_neural.tuning.tpe import tpe
from projects.level2_mnist import config as config_lib
from projects.level2_mnist import experiment

SPACE = {'rate': LogUniform(1e-4, 3e-2), 'weight_decay': LogUniform(1e-4, 1.0), 'dropout': Uniform(0.0, 0.7)}
AXES = {'rate': 'peak learning rate', 'weight_decay': 'weight decay', 'dropout': 'dropout'}


def split(train: dict) -> tuple[dict, dict]:
    """(to learn from, to score on): every fifth of the shuffled training images is for scoring."""
    order = data.permutation(len(train['label']), seed=0, epoch=0)
    held = np.arange(len(order)) % 5 == 0
    return tuple({k: v[order[rows]] for k, v in train.items()} for rows in (~held, held))


def batches(c, train: dict) -> dict:
    """Images, and which of them make the batch of each step: the same for all trials."""
    order = data.Order(len(train['label']), c.batch_size, seed=0)
    return {'train': train, 'order': np.stack([order(i) for i in range(c.trial_steps)]).astype(np.int32)}


def batch(given: Mapping, step) -> dict:
    """The batch of a step."""
    return {k: jnp.asarray(v)[given['order'][step]] for k, v in given['train'].items()}


def trial(c, hyper: Mapping[str, Array]) -> Task:
    """Training of one configuration, a dict of numbers that may be traced; else as in `experiment.build`."""
    model = experiment.MODELS[c.model](c).clone(dropout=hyper['dropout'])
    shape = optax.warmup_cosine_decay_schedule(0.0, 1.0, c.warmup, c.trial_steps, end_value=0.01)
    adam = optax.adamw(lambda count: hyper['rate'] * shape(count), weight_decay=hyper['weight_decay'])
    task = tasks.classifier(model, optax.chain(optax.clip_by_global_norm(1.0), adam), smoothing=c.smoothing,
                            accum=c.accum, policy=optim.Policy(jnp.dtype(c.dtype)))
    task = with_transform(task, functools.partial(experiment.scaled, c))
    return with_augment(task, experiment.wiggle) if c.augment else task


def searcher(c) -> Tuner:
    """The search of a config: a quarter of its trials are random."""
    objective = from_task(functools.partial(trial, c), batch=batch)
    return tpe(objective, SPACE, trials=c.trials, steps=c.trial_steps, workers=c.workers, first=c.trials // 4)


def tested(c, hypers: dict[str, Float[np.ndarray, ' n']], seeds: list[int], train: dict,
           test: dict) -> Float[np.ndarray, 'n seeds']:
    """Test accuracy of configurations, trained on all training images from each seed; all in one program."""
    def one(key, hyper, given):
        task = trial(c, hyper)
        carry, _ = train_fn(task, c.trial_steps, batch)(key, given)
        return task.evaluate(carry.key, carry.state, given['test'])['accuracy'].value

    keys = jax.vmap(jax.random.key)(jnp.array(seeds, jnp.uint32))
    many = jax.jit(jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, None)))
    return np.asarray(many(keys, hypers, {**batches(c, train), 'test': test}))


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    train, test = dataset.train, dataset.test
    learn, held = split(train)
    search, given = searcher(c), {**batches(c, learn), 'valid': held}
    trained = experiment_lib.train(run, search.task, lambda seed: data.constant(given), vmap_helps=True)
    tables = [ranking(search, carry.state) for carry in trained.carries]
    best = {name: np.array([t.values[name][0] for t in tables] + [c[name]], np.float32) for name in SPACE}
    seeds = [c.seed + 1000 + i for i in range(c.again)]
    accuracy = tested(c, best, seeds, train, test)
    trained.metrics.update(
        accuracy=[float(v) for v in accuracy[:-1].mean(1)],
        gain=[float(v) for v in (accuracy[:-1] - accuracy[-1:]).mean(1)],
        valid_loss=[float(t.score[0]) for t in tables])
    base = {'untuned': float(accuracy[-1].mean()), **experiment.baselines(train, test, c.baseline_rows)}
    if run.writes:
        plots.save(draw(c, tables[0], best, accuracy), run.plots / 'tuning.png')
        for name in SPACE:
            print(f'{AXES[name]}: {", ".join(f"{v:.4g}" for v in best[name][:-1])}; untuned {best[name][-1]:.4g}')
    results.finish(
        run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
        comparison={'accuracy: tuned - untuned': results.interval([     # of each key, the mean of the searches
            float(v) for v in accuracy[:-1].mean(0) - accuracy[-1]])},
        tuning={'budget': search.budget, 'spent': [spent(carry.state) for carry in trained.carries],
                'learned_from': len(learn['label']), 'scored_on': len(held['label']),
                'best': {name: [float(v) for v in values[:-1]] for name, values in best.items()},
                'untuned': {name: float(values[-1]) for name, values in best.items()},
                'trained_again': accuracy.tolist(),
                'trials': {'score': tables[0].score.tolist(), **{k: v.tolist() for k, v in tables[0].values.items()}}})


def draw(c, table: Table, best: dict[str, np.ndarray], accuracy: np.ndarray) -> Figure:
    """The trials of the first seed, in their order and along each axis, and what came of the best one."""
    figure = Figure(figsize=(13.2, 6.4), layout='constrained')
    panels = figure.subplot_mosaic([['order', 'order', 'tested'], list(SPACE)])
    ordered, last = panels['order'], panels['tested']
    order = np.argsort(table.trial)
    score, number = table.score[order], table.trial[order]
    shown = np.minimum(score, np.quantile(score, 0.9))      # trials that went wrong lie at the top edge
    ordered.scatter(number, shown, c=number, cmap='viridis', s=18)
    ordered.plot(number, np.minimum.accumulate(score), color=plots.COLORS[1], label='best so far')
    ordered.axvline(c.trials // 4 - 0.5, color='0.5', ls=':', label='random before, proposed after')
    ordered.set(xlabel='trial', ylabel='validation loss (nats)')
    ordered.legend(fontsize=8)
    for name, side in SPACE.items():
        ax = panels[name]
        ax.scatter(table.values[name][order], shown, c=number, cmap='viridis', s=18)
        ax.axvline(best[name][0], color=plots.COLORS[1], label=f'best: {best[name][0]:.3g}')
        ax.axvline(best[name][-1], color='0.5', ls='--', label=f'untuned: {best[name][-1]:.3g}')
        ax.set(xlabel=AXES[name], ylabel='validation loss (nats)',
               xscale='log' if isinstance(side, LogUniform) else 'linear')
        ax.legend(fontsize=8)
    for i, row in enumerate((accuracy[-1], accuracy[0])):
        m = results.interval(list(row))
        last.plot(np.full(len(row), i), row, 'o', color=plots.COLORS[i], alpha=0.6)
        last.errorbar([i], [m['mean']], [m['ci95'][1] - m['mean']], color=plots.COLORS[i], capsize=6, marker='_',
                         ms=18, mew=2)
    last.set_xticks([0, 1], ['untuned', 'tuned'])
    last.set(ylabel='test accuracy', xlim=(-0.5, 1.5), title=f'trained anew, from {accuracy.shape[1]} seeds each')
    last.title.set_fontsize(9)
    for ax in panels.values():
        ax.grid(alpha=0.25)
    figure.suptitle(f'{c.trials} trials of {c.trial_steps} steps on {c.data}: scored on training images that are held '
                    'out; dark came first', fontsize=11)
    return figure
