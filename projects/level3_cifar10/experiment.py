"""Trains the recipe, or lets networks race, compares with classical baselines on the pixels, and draws."""
import jax
import numpy as np

from common import data, datasets, experiment, plots, results
from common.evaluate import evaluator
from common.runs import Run, read_metrics
from levels.level1_classical.classification.logistic import logistic
from levels.level1_classical.ensembles.forest import random_forest_classifier
from projects.level3_cifar10 import config as config_lib
from projects.level3_cifar10 import draw, models, race
from projects.level3_cifar10.watch import Watch, passing


def pixels(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of bytes."""
    byte = np.arange(256)
    share = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(images, -1, 0)])
    share = share / share.sum(1, keepdims=True)
    mean = share @ byte
    return tuple(mean.tolist()), tuple(np.sqrt(share @ byte**2 - mean**2).tolist())


def recipe(run: Run, dataset: datasets.Dataset, watch: Watch, stats: tuple) -> experiment.Trained:
    """The network of the config, for every seed of the run."""
    c, train = run.config, dataset.train
    task = models.build(c, c.model, c.steps, *stats)

    def source(seed: int) -> data.Source:
        watch.expect(c.model, seed)
        return data.resident(train, data.Order(len(train['label']), c.batch_size, seed=seed))

    score = evaluator(task, dataset.test, batch_size=min(1000, len(dataset.test['label'])))
    return experiment.train(run, task, source, evaluate=watch.look(score), started=watch.go)


def baselines(train: dict, test: dict, rows: int) -> dict[str, float]:
    """Test accuracy of logistic regression and of a random forest on the raw pixels of `rows` images."""
    if not rows:
        return {}
    pick = data.permutation(len(train['label']), 0, 0)[:rows]
    flat = lambda images: (images.reshape(len(images), -1) / 255).astype(np.float32)
    x, y, held = flat(train['image'][pick]), train['label'][pick], flat(test['image'])
    found = {'logistic regression': logistic(C=0.01, n_classes=10, solver='lbfgs', tol=1e-3, max_iter=100),
             'random forest': random_forest_classifier(n_estimators=50, max_depth=10, max_bins=32, n_classes=10)}
    guess = {name: np.asarray(m.predict(jax.jit(m.fit)(jax.random.key(0), x, y), held)) for name, m in found.items()}
    return {name: float((g == test['label']).mean()) for name, g in guess.items()}


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    watch, stats = Watch(run), pixels(dataset.train['image'])
    trained = (race.compete if c.race else recipe)(run, dataset, watch, stats)
    seeds = [c.seed + i for i in range(run.args.seeds)]
    curves = {name: {seed: watch.curve(name, seed) for seed in seeds} for name in (c.racers if c.race else [c.model])}
    base = baselines(dataset.train, dataset.test, c.baseline_rows)
    if run.writes:
        figures = {'time': draw.time(c, curves, base)}
        if not c.race:
            figures |= draw.recipe(c, dataset, trained.carries[0].state, stats)
            panels = [('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy')]
            title = f'{models.NETWORKS[c.model].title} on {c.data}'
            figures['curves'] = plots.curves(read_metrics(run.dir), panels, title, {'accuracy': base})
        for name, figure in figures.items():
            plots.save(figure, run.plots / f'{name}.png')
        report(c, curves)
    found = {'curves': curves, 'goal': goals(c, curves)} if run.writes else {}
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base, **found)


def goals(c, curves: dict) -> dict:
    """Of each network and seed: when it passed the goal, and what it had reached after all its CPU seconds."""
    one = lambda curve: {'first': passing(curve, c.goal), 'cpu_seconds': curve[-1][1], 'accuracy': curve[-1][2]}
    return {'accuracy': c.goal, 'networks': {name: {seed: one(curve) for seed, curve in of_seed.items()}
                                             for name, of_seed in curves.items()}}


def report(c, curves: dict) -> None:
    """The table of `goals`, for a person."""
    print(f'{"network":12} {"seed":>4} {"accuracy":>8} {"CPU s":>7}   test accuracy of {c.goal} first passed at')
    for name, of_seed in goals(c, curves)['networks'].items():
        for seed, found in of_seed.items():
            at = found['first']
            when = f'step {at["step"]}, {at["cpu_seconds"]:.1f} CPU s' if at else 'no step'
            print(f'{models.NETWORKS[name].title:12} {seed:4} {found["accuracy"]:8.4f} {found["cpu_seconds"]:7.1f}   '
                  f'{when}')
