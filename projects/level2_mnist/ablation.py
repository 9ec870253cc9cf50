"""Batch norm and dropout, with and without: four networks that differ in nothing else learn side by side.

They begin with the same weights and see the same batches in the same order, over several seeds in one program; so the
differences are paired, and their intervals are those of the differences.
"""
import jax
import numpy as np
from matplotlib.figure import Figure

from common import datasets, plots, results
from common import experiment as experiment_lib
from common.evaluate import evaluator
from common.runs import Run, read_metrics
from common.task import Task
from common.wrappers import side_by_side
from projects.level2_mnist import config as config_lib
from projects.level2_mnist import experiment

PARTS = {'none': (False, False), 'norm': (True, False), 'dropout': (False, True), 'both': (True, True)}
TITLES = {'none': 'neither', 'norm': 'batch norm', 'dropout': 'dropout', 'both': 'both'}


def varied(c, name: str):
    """The config of one of the four networks."""
    normed, drops = PARTS[name]
    new = c.copy_and_resolve_references()
    new.update({'norm': c.norm if normed else 'none', 'dropout': c.dropout if drops else 0.0})
    return new


def build(c) -> Task:
    """All four, side by side."""
    return side_by_side({name: experiment.build(varied(c, name))[1] for name in PARTS})


def differences(metrics: dict[str, list[float]]) -> dict[str, dict]:
    """Test accuracy and loss of each network minus those of the one with neither, and who wins where that is known."""
    found = {}
    for metric, sign in (('accuracy', 1), ('loss', -1)):
        for name in list(PARTS)[1:]:
            d = np.array(metrics[f'{metric}_{name}']) - np.array(metrics[f'{metric}_none'])
            low, high = (sign * v if v is not None else np.nan for v in results.interval(list(d))['ci95'])
            low, high = min(low, high), max(low, high)
            verdict = 'better' if low > 0 else 'worse' if high < 0 else 'undecided'
            found[f'{metric}: {name} - none'] = {**results.interval(list(map(float, d))), 'verdict': verdict}
    return found


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    train, test = dataset.train, dataset.test
    task = build(c)
    trained = experiment_lib.train(run, task, lambda seed: experiment.source(c, train, seed), evaluate=test,
                                   vmap_helps=True)
    learned = evaluator(task, train, batch_size=min(1000, len(train['label'])))
    for values in (learned(carry._replace(key=jax.random.key(0))) for carry in trained.carries):     # nothing is drawn
        for name in PARTS:
            trained.metrics.setdefault(f'train_accuracy_{name}', []).append(values[f'accuracy_{name}'])
    for name in list(PARTS)[1:]:
        pairs = {'gain': (f'accuracy_{name}', 'accuracy_none'), 'loss_cut': ('loss_none', f'loss_{name}')}
        for better, (more, less) in pairs.items():
            trained.metrics[f'{better}_{name}'] = [a - b for a, b in zip(trained.metrics[more], trained.metrics[less])]
    found = differences(trained.metrics)
    base = experiment.baselines(train, test, c.baseline_rows)
    if run.writes:
        plots.save(draw(c, read_metrics(run.dir), trained.metrics, base), run.plots / 'ablation.png')
        print(table(trained.metrics, found))
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   comparison=found)


def table(metrics: dict[str, list[float]], found: dict[str, dict]) -> str:
    """One line for each network."""
    lines = ['network        training  test: accuracy                 loss     against neither']
    for name in PARTS:
        m = results.interval(metrics[f'accuracy_{name}'])
        spread = f'[{m["ci95"][0]:.4f}, {m["ci95"][1]:.4f}]' if m['ci95'][0] is not None else ''
        verdicts = [f'{what} {found[f"{what}: {name} - none"]["verdict"]}' for what in ('accuracy', 'loss')
                    if name != 'none']
        lines.append(f'{TITLES[name]:<14} {np.mean(metrics[f"train_accuracy_{name}"]):.4f}    {m["mean"]:.4f} '
                     f'{spread:<18}    {np.mean(metrics[f"loss_{name}"]):.4f}   {", ".join(verdicts)}'.rstrip())
    return '\n'.join(lines)


def draw(c, rows: list[dict], metrics: dict[str, list[float]], base: dict[str, float]) -> Figure:
    """Test accuracy and loss over the steps, and the accuracy at the end: each seed, the mean and its interval."""
    figure = Figure(figsize=(13.2, 3.9), layout='constrained')
    *over_time, last = figure.subplots(1, 3)
    for ax, (metric, label) in zip(over_time, (('accuracy', 'test accuracy'), ('loss', 'test cross-entropy (nats)'))):
        ends = []
        for name, color in zip(PARTS, plots.COLORS):
            steps, values = plots.series(rows, 'test', f'{metric}_{name}')
            ax.plot(steps, values.mean(1), color=color, label=TITLES[name])
            ax.fill_between(steps, values.min(1), values.max(1), color=color, alpha=0.15, lw=0)
            ends.append(values[len(values) // 4:])
        low, high = min(v.min() for v in ends), max(v.max() for v in ends)     # the first steps are far off
        ax.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
        ax.set(xlabel='training step', ylabel=label)
        ax.grid(alpha=0.25)
    over_time[0].legend(fontsize=8, title='mean, range of the seeds', title_fontsize=8)
    for i, (name, color) in enumerate(zip(PARTS, plots.COLORS)):
        m = results.interval(metrics[f'accuracy_{name}'])
        last.plot(np.full(len(m['values']), i), m['values'], 'o', color=color, alpha=0.5, ms=4)
        half = [m['ci95'][1] - m['mean']] if m['ci95'][1] is not None else None
        last.errorbar([i], [m['mean']], half, color=color, capsize=6, marker='_', ms=18, mew=2)
    for i, (text, value) in enumerate(base.items()):
        last.axhline(value, color='0.45', ls=('--', ':')[i % 2], lw=1.2, label=f'{text}: {value:.3f}')
    last.set_xticks(range(len(PARTS)), [TITLES[name] for name in PARTS])
    last.set(ylabel='test accuracy at the end', xlim=(-0.5, len(PARTS) - 0.5))
    last.grid(alpha=0.25)
    if base:
        last.legend(fontsize=8)
    figure.suptitle(f'Batch norm and dropout on {c.data}, with and without (bars: 95 % interval of the mean)',
                    fontsize=11)
    return figure
