"""Learns other animals, then cats and dogs from few pictures in three ways, and compares the ways in pairs."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from common import datasets, evaluate, experiment, plots, results
from common.runs import Run, read_metrics
from projects.level3_cats_vs_dogs import config as config_lib
from projects.level3_cats_vs_dogs import draw, models
from projects.level3_cats_vs_dogs import problem as problem_lib
from projects.level3_cats_vs_dogs.models import ARMS


def scorer(c, problem: problem_lib.Problem):
    """carry -> test accuracies: of the source task, and `<arm>_<size>`; arrays [seeds] for several."""
    fn = models.logits(c, problem.classes)
    known = models.scaled({k: jnp.asarray(v) for k, v in problem.source_test.items()})
    known = models.turned(known) if c.pretext == 'turns' else known

    def of_seed(state) -> dict[str, float]:
        source, arms = fn(state, known['image'], problem.test['image'])
        hit = lambda said, label: np.asarray(said).argmax(-1) == np.asarray(label)
        found = {'source_accuracy': float(hit(source, known['label']).mean())}
        for name in ARMS:
            right = hit(arms[name], problem.test['label']).mean(1)
            found |= {f'{name}_{n}': float(right[i]) for i, n in enumerate(c.sizes)}
        return found

    return functools.partial(evaluate.by_seed, of_seed)


def classical(c, problem: problem_lib.Problem, seeds: list[int]) -> dict[str, np.ndarray]:
    """Test accuracy of each baseline [seeds, sizes], on the very pictures that the networks learned from."""
    if not c.baseline:
        return {}
    found = [[models.baselines(problem.pictures, problem.test, problem_lib.chosen(problem, seed, n)) for n in c.sizes]
             for seed in seeds]
    return {name: np.array([[f[name] for f in of_seed] for of_seed in found]) for name in found[0][0]}


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    problem = problem_lib.build(c, dataset)
    seeds = [c.seed + i for i in range(run.args.seeds)]
    source = lambda seed: problem_lib.source(c, problem, seed)
    trained = experiment.train(run, models.build(c, problem.classes), source, evaluate=scorer(c, problem))
    for name in ARMS[1:]:               # in pairs: the same pictures, order, changes and test set
        for n in c.sizes:
            pair = zip(trained.metrics[f'{name}_{n}'], trained.metrics[f'scratch_{n}'])
            trained.metrics[f'{name}_gain_{n}'] = [a - b for a, b in pair]
        each = np.array([trained.metrics[f'{name}_gain_{n}'] for n in c.sizes])
        trained.metrics[f'{name}_gain'] = [float(v) for v in each.mean(0)]
    simple = classical(c, problem, seeds)
    base = {f'{name}, {n} pictures': float(v[:, i].mean()) for name, v in simple.items() for i, n in enumerate(c.sizes)}
    base['always the same: accuracy'] = float(np.bincount(problem.test['label']).max() / len(problem.test['label']))
    if run.writes:
        pictures(run, problem, trained, simple)
        tell(c, trained.metrics)
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   pictures={'source': len(problem.source), 'test': len(problem.test['label'])})


def tell(c, metrics: dict[str, list[float]]) -> None:
    """A line for each size: what transfer adds, with its interval over seeds."""
    for n in c.sizes:
        found = {name: results.interval(metrics[f'{name}_gain_{n}']) for name in ARMS[1:]}
        parts = []
        for name, d in found.items():
            low, high = d['ci95']
            parts.append(f'{name} {d["mean"]:+.3f}' + (f' [{low:+.3f}, {high:+.3f}]' if low is not None else ''))
        print(f'{n} pictures: scratch {np.mean(metrics[f"scratch_{n}"]):.3f}; added by ' + ', '.join(parts))


def pictures(run: Run, problem: problem_lib.Problem, trained: experiment.Trained, simple: dict) -> None:
    """All figures; where one seed is shown it is the first."""
    c, truth = run.config, problem.test['label']
    what = 'silhouettes' if c.data == 'animals' else 'photographs'
    _, arms = models.logits(c, problem.classes)(
        trained.carries[0].state, models.scaled(problem.source_test)['image'][:1], problem.test['image'])
    p = {name: np.asarray(jax.nn.softmax(v)) for name, v in arms.items()}       # [sizes, n, 2]
    figures = {'learning_curves': draw.learning_curves(c.sizes, trained.metrics, simple, what),
               'training': draw.training(c, read_metrics(run.dir), what)}
    for at, n in ((0, c.sizes[0]), (-1, c.sizes[-1])):
        best = p['finetune'][at]
        figures[f'confusion_{n}'] = plots.confusion(
            truth, best.argmax(1), problem_lib.PETS, f'fine-tuned on {n} {what}, seed {c.seed}')
        bad = plots.worst(best, truth, 16)
        text = [f'{problem_lib.PETS[truth[i]]} as {problem_lib.PETS[best[i].argmax()]} ({best[i].max():.0%})\nscratch: '
                f'{problem_lib.PETS[p["scratch"][at][i].argmax()]} ({p["scratch"][at][i].max():.0%})' for i in bad]
        title = f'Fine-tuned on {n} {what}: its surest mistakes, and what the network from scratch says'
        figures[f'mistakes_{n}'] = plots.images(problem.test['image'][bad] / 255.0, text, title)
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')
