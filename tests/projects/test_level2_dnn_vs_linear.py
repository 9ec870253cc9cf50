"""The project as its users run it: what it leaves behind, no leaks, killed and resumed, and who wins where."""
import functools
import signal

import jax
import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from common import datasets
from common.runs import read_metrics
from projects.level2_dnn_vs_linear import config as config_lib
from projects.level2_dnn_vs_linear import draw, experiment, models, tables
from projects.level2_dnn_vs_linear.tables import NAMES
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level2_dnn_vs_linear.main'
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dnn_vs_linear')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'checkpoints/00000020/manifest.json',
                 *(f'plots/{n}.png' for n in ('compared', 'predicted', 'shapes', 'curves'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['verified'] and (r['data']['train'], r['data']['test']) == (404, 102) and r['seeds'] == [0, 1]
    assert set(r['comparison']) == set(NAMES) and set(r['metrics']) == {f'{k}_{n}' for n in NAMES
                                                                         for k in ('rmse', 'gain')}
    for name, d in r['comparison'].items():
        rmse = r['metrics'][f'rmse_{name}']
        assert len(rmse['values']) == 2 and abs(rmse['mean'] - d['rmse_network']) < 1e-4 * rmse['mean']
        assert abs(d['rmse_network'] - d['rmse_linear'] - d['mean']) < 1e-6 and d['low'] < d['mean'] < d['high']
        assert d['mean'] > 0, 'after 20 steps a network knows little'
        assert r['baseline'][f'linear: RMSE of {name}'] == d['rmse_linear'] < 0.9 * d['rmse_mean']
        assert r['baseline'][f'mean: RMSE of {name}'] == d['rmse_mean']
    assert [row['step'] for row in read_metrics(smoke) if row['split'] == 'test'] == [10, 20]
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_killed_and_resumed_it_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    processes.wait_for_step(tmp_path, 10)
    processes.kill_after(process, 0, signal.SIGKILL)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, '--config=smoke', '--seeds=2')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


@pytest.mark.slow
@pytest.mark.parametrize('flags', [('--strategy=mesh', '--host_devices=2'), ('--seed_mode=turn',)])
def test_other_ways_to_run_give_the_same_numbers(smoke, tmp_path, flags):
    finish(tmp_path, '--config=smoke', '--seeds=2', *flags)
    for name, metric in result(smoke)['metrics'].items():
        other = result(tmp_path)['metrics'][name]['values']
        assert np.allclose(other, metric['values'], rtol=1e-3, atol=1e-3), name


@pytest.fixture(scope='module')
def small():
    """(config, tables, folds) of two seeds; two gaps in a column."""
    c = config_lib.get_config('smoke')
    dataset = datasets.load('hprice2')
    dataset.train['x'][[3, 70], 2] = np.nan
    made = tables.build(dataset)
    return c, made, tables.fold(made, c.folds, [0, 1])


def test_least_squares_is_scikit_learn_s(small):
    """A pipeline that fills, scales and fits on the training rows of each fold alone."""
    c, made, folds = small
    ours = models.linear(folds)
    for seed in range(2):
        for fold in range(c.folds):
            train = ~folds.test[:, seed, fold]
            for i in range(len(NAMES)):
                peer = make_pipeline(SimpleImputer(strategy='median'), StandardScaler(), LinearRegression())
                said = peer.fit(made.x[train, i], made.y[train, i]).predict(made.x[:, i])
                assert np.abs(ours[seed, :, fold, i] - said).max() < 2e-4 * np.abs(said).max()
    rmse = models.errors(made.y, ours[0], folds.test[:, 0])
    rows = folds.test[:, 0, 1]
    assert abs(rmse[1, 2] - np.sqrt(np.mean((ours[0, rows, 1, 2] - made.y[rows, 2]) ** 2))) < 1e-6


def test_the_constant_is_the_mean_of_the_training_rows(small):
    c, made, folds = small
    guess = models.constant(folds)
    assert guess.shape == models.linear(folds).shape
    for seed in range(2):
        for fold in range(c.folds):
            rows = folds.test[:, seed, fold]
            peer = DummyRegressor().fit(made.x[~rows, 0], made.y[~rows]).predict(made.x[:, 0])
            assert np.abs(guess[seed, :, fold] - peer).max() < 1e-9
            there = models.errors(made.y, guess[seed], folds.test[:, seed])[fold]
            assert np.allclose(there, np.sqrt(((made.y[rows] - made.y[~rows].mean(0)) ** 2).mean(0)), rtol=1e-12)


def test_the_worst_rows_are_named_in_the_scatter(small):
    """Row numbers and circles at the three largest residuals of rows that were not seen, in every panel."""
    _, made, folds = small
    said = {'linear': models.linear(folds), 'network': models.constant(folds)}
    axes = draw.predicted(made, folds, said).axes
    own = folds.test[:, 0].argmax(1)
    assert len(axes) == 2 * len(NAMES)
    for row, kind in enumerate(('network', 'linear')):
        for i in range(len(NAMES)):
            ax, guess = axes[row * len(NAMES) + i], said[kind][0, np.arange(len(own)), own, i]
            worst = np.argsort(-abs(guess - made.y[:, i]), kind='stable')[:3]      # prices are cut: some are tied
            assert [int(t.get_text()) for t in ax.texts] == list(worst)
            assert np.allclose([t.xy for t in ax.texts], np.c_[made.y[worst, i], guess[worst]])
            circles = next(line for line in ax.lines if line.get_marker() == 'o')
            assert np.allclose(circles.get_xydata(), np.c_[made.y[worst, i], guess[worst]])


def test_nothing_of_a_test_fold_reaches_what_is_fitted(small):
    """Other values in the test rows of fold 0 change neither its scales, nor its line, nor its network's parameters."""
    c, made, folds = small
    rows = folds.test[:, 0, 0]
    spoiled = made._replace(x=np.where(rows[:, None, None], 1e3, made.x), y=np.where(rows[:, None], -1e4, made.y))
    task = models.build(c)

    def fitted(given):
        found = tables.fold(given, c.folds, [0, 1])
        source = tables.source(found, c.batch_size, 0, 0)
        state = jax.jit(task.init)(jax.random.key(0), source(0))
        step = jax.jit(task.step)
        for i in range(3):
            state, _ = step(jax.random.key(i), state, source(i))
        kept = {'mean': found.mean[0], 'std': found.std[0], 'x': found.x[~rows, 0]}
        of = lambda fold: jax.tree.map(lambda v: np.asarray(v).reshape(c.folds, len(NAMES), *v.shape[1:])[fold],
                                       state.inner.ema)
        return kept, of
    (kept, network), (kept2, network2) = fitted(made), fitted(spoiled)
    same = lambda a, b: all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert same(network(0), network2(0)) and not same(network(1), network2(1))
    assert all(np.array_equal(kept[k][0], kept2[k][0]) for k in ('mean', 'std'))
    assert np.array_equal(kept['x'][:, 0], kept2['x'][:, 0]) and not np.array_equal(kept['x'][:, 1], kept2['x'][:, 1])


def test_the_tables(small):
    _, made, folds = small
    assert made.x.shape == (404, 3, 10) and (made.x[:, 0, 8:] == 0).all() and folds.x.shape == (404, 2, 2, 3, 10)
    assert (folds.test.sum(2) == 1).all() and not np.array_equal(folds.test[:, 0], folds.test[:, 1])
    best = np.linalg.lstsq(np.c_[made.x[:, 2], np.ones(404)], made.y[:, 2], rcond=None)[0]
    assert np.abs(best[:10] - tables.SLOPES).max() < 0.8
    assert abs(np.std(made.y[:, 2] - made.x[:, 2] @ best[:10]) - 1) < 0.1
    curved = lambda x: 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    assert abs(np.std(made.y[:, 1] - curved(made.x[:, 1])) - 1) < 0.1


def test_the_verdict():
    assert [experiment.verdict({'low': a, 'high': b}) for a, b in ((-2, -1), (-1, 1), (1, 2))] == [
        'network', 'undecided', 'linear']
    rng = np.random.default_rng(0)
    line = 3 + rng.normal(size=(5, 5, 3))
    found = experiment.compare(line + np.array([-1.0, 0.0, 1.0]) + 0.1 * rng.normal(size=(5, 5, 3)), line, 5)
    assert [found[n]['winner'] for n in NAMES] == ['network', 'undecided', 'linear']


@pytest.mark.slow
def test_california(tmp_path, shared_file):
    finish(tmp_path, '--config=smoke', '--config.data=california_housing',
           f'--data_dir={shared_file("california_housing.csv").parent}')
    assert result(tmp_path)['data']['verified']


def test_wrong_commands(tmp_path):
    said = finish(tmp_path / 'a', '--config=california', f'--data_dir={tmp_path}', code=5)
    assert 'put the 1990 census table' in said
    assert 'did you mean' in finish(tmp_path / 'b', '--config.norm=btach', code=2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(('size', 'seeds'), [('full', 5), ('california', 2)])
def test_the_recipe_reaches_what_is_expected(tmp_path, shared_file, size, seeds):
    where = (f'--data_dir={shared_file("california_housing.csv").parent}',) if size == 'california' else ()
    finish(tmp_path, f'--config={size}', f'--seeds={seeds}', *where, timeout=1400)
    r = result(tmp_path)
    assert r['passed'] and r['expected'] == {k: list(v) for k, v in config_lib.EXPECTED[size].items()}
    for name, (value, op) in r['expected'].items():
        values = r['metrics'][name]['values']
        assert (min(values) >= value) if op == '>=' else (max(values) <= value), name
    assert [r['comparison'][n]['winner'] for n in NAMES] == ['network', 'network', 'linear']


def test_expected_values_are_for_whole_recipes_only():
    for size, values in config_lib.EXPECTED.items():
        c = config_lib.get_config(size)
        c.seed = 7
        assert config_lib.expected(c) == values and values['gain_line'][0] < 0
        c.width += 1
        assert config_lib.expected(c) == {}
    assert not config_lib.expected(config_lib.get_config('smoke'))
