"""Trains a network on each fold of each table, fits least squares on the same rows, and says who wins where."""
import jax
import numpy as np

from common import datasets, experiment, plots, results
from common.runs import Run, read_metrics
from levels.level1_classical import model_selection as ms
from projects.level2_dnn_vs_linear import config as config_lib
from projects.level2_dnn_vs_linear import draw, models
from projects.level2_dnn_vs_linear import tables as tables_lib
from projects.level2_dnn_vs_linear.tables import NAMES


def scorer(c, tables: tables_lib.Tables, folds: tables_lib.Folds):
    """carry -> RMSE of the networks on the test rows of their folds, for each table; arrays [seeds] for several."""
    guess = models.guesses(c, folds)

    def of_seed(state) -> np.ndarray:
        return models.errors(tables.y, guess(state), folds.test[:, int(state.which)]).mean(0)

    def score(carry) -> dict:
        state = jax.device_get(carry.state)
        many = np.ndim(state.which) > 0
        states = [jax.tree.map(lambda x, i=i: x[i], state) for i in range(len(state.which))] if many else [state]
        found = np.stack([of_seed(s) for s in states])
        return {f'rmse_{name}': found[:, i] if many else float(found[0, i]) for i, name in enumerate(NAMES)}

    return score


def verdict(difference: dict[str, float]) -> str:
    """Who has the smaller error, by the interval of network - linear; 'undecided' where it contains 0."""
    return 'network' if difference['high'] < 0 else 'linear' if difference['low'] > 0 else 'undecided'


def compare(network: np.ndarray, line: np.ndarray, folds: int) -> dict[str, dict]:
    """Of each table: the paired difference of RMSEs [seeds, folds, tables] with its 95 % interval, and who wins."""
    found = {}
    for i, name in enumerate(NAMES):
        d = ms.paired_interval(network[..., i] - line[..., i], test_share=1 / folds)
        wins = float((network[..., i] < line[..., i]).mean())
        found[name] = {**d, 'winner': verdict(d), 'folds_won_by_network': wins, 'rmse_network': network[..., i].mean(),
                       'rmse_linear': line[..., i].mean()}
    return found


def main(run: Run) -> None:
    c = run.config
    dataset = datasets.load(c.data, data_dir=run.args.data_dir or None)
    tables = tables_lib.build(dataset)
    seeds = [c.seed + i for i in range(run.args.seeds)]
    folds = tables_lib.fold(tables, c.folds, seeds)
    source = lambda seed: tables_lib.source(folds, c.batch_size, seeds.index(seed), seed)
    trained = experiment.train(run, models.build(c), source, evaluate=scorer(c, tables, folds), vmap_helps=True)

    said = {'network': np.stack([np.asarray(models.guesses(c, folds)(carry.state)) for carry in trained.carries]),
            'linear': models.linear(folds), 'mean': models.constant(folds)}
    rmse = {kind: np.stack([models.errors(tables.y, guess, folds.test[:, i]) for i, guess in enumerate(said[kind])])
            for kind in said}
    found = compare(rmse['network'], rmse['linear'], c.folds)
    for i, name in enumerate(NAMES):
        trained.metrics[f'gain_{name}'] = list(1 - rmse['network'][..., i].mean(1) / rmse['linear'][..., i].mean(1))
    for i, name in enumerate(NAMES):
        found[name]['rmse_mean'] = rmse['mean'][..., i].mean()
    base = {f'{kind}: RMSE of {name}': found[name][f'rmse_{kind}'] for kind in ('linear', 'mean') for name in NAMES}
    if run.writes:
        figures = {'compared': draw.compared(c, rmse, found), 'predicted': draw.predicted(tables, folds, said),
                   'shapes': draw.shapes(c, tables, folds, trained.carries[0].state),
                   'curves': draw.curves(read_metrics(run.dir), found)}
        for name, figure in figures.items():
            plots.save(figure, run.plots / f'{name}.png')
        for name, d in found.items():
            print(f'{tables_lib.TITLES[name]}: RMSE {d["rmse_network"]:.3f} by the network, {d["rmse_linear"]:.3f} by '
                  f'the line, {d["rmse_mean"]:.3f} by the mean, difference [{d["low"]:.3f}, {d["high"]:.3f}]: '
                  f'{d["winner"]}')
    results.finish(run, trained, data=dataset.describe(), expected=config_lib.expected(c), baseline=base,
                   comparison=found)
