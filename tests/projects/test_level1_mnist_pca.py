"""The project as its users run it: what it leaves behind, no leaks, killed and run again; and the parts it rests on."""
import functools
import signal
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier

from common import datasets
from common.errors import DataError
from projects.level1_mnist_pca import config as config_lib
from projects.level1_mnist_pca import experiment, maps, programs
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level1_mnist_pca.main'
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('pca')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


@pytest.fixture(scope='module')
def digits():
    """Pixels and labels: of training, of testing."""
    found = datasets.load('mnist_5k')
    return [(experiment.flat(part['image']), part['label']) for part in (found.train, found.test)]


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'pca.safetensors', 'reader.safetensors', *(
            f'plots/{n}.png' for n in ('scree', 'components', 'rebuilt', 'probe', 'maps', 'slices'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    m = {name: value['mean'] for name, value in r['metrics'].items()}
    assert r['data']['verified'] and (r['data']['train'], r['data']['test']) == (4000, 1000) and r['seeds'] == [0, 1]
    assert m['mse_seen_10'] < m['mse_pca_10'] < m['mse_pca_2'] < m['mse_random_2'] < m['mse_mean_digit']
    assert m['margin_random'] > 0.1 and m['test_accuracy_reader'] > 0.88
    assert m['trust_tsne'] > m['trust_pca'] > m['trust_random'] and m['trust_umap'] > m['trust_pca']
    assert len(r['comparison']) == 15 and r['comparison']['knn_random_10 - knn_raw']['mean'] > 0
    assert [row['digit'] for row in r['slices']] == list(range(10)) and sum(row['count'] for row in r['slices']) == 200
    for name, solver in r['solvers'].items():
        assert solver['angle'] < 1 and solver['variance'] < (0.05 if name == 'randomised' else 1e-4), name
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_a_killed_run_starts_again_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    while not (tmp_path / 'env.json').exists():
        time.sleep(0.05)
    processes.kill_after(process, 3, signal.SIGKILL)       # among imports, compiling, solving: wherever it is then
    assert not (tmp_path / 'result.json').exists()
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "split": "test", "trust_pca": 0.1}\n{"torn')
    finish(tmp_path, '--config=smoke', '--seeds=2')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    for name in ('pca', 'reader'):
        assert (tmp_path / f'{name}.safetensors').read_bytes() == (smoke / f'{name}.safetensors').read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=3')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """Four problems and two nulls over 2 and 3 devices: shares that do not come out even."""
    finish(tmp_path, '--config=smoke', '--seeds=2', *flags, timeout=850)
    for name, metric in result(smoke)['metrics'].items():
        # one of the 200 digits may fall on the other side of a border; a map is made on one device whatever the flags
        assert np.allclose(result(tmp_path)['metrics'][name]['values'], metric['values'], rtol=1e-3, atol=0.011), name


def test_the_artefacts_do_what_was_measured(smoke, tmp_path, digits):
    (X, _), (X_test, y_test) = digits
    reader, state, about = programs.load(smoke / 'reader.safetensors')
    share = float(np.mean(reader.predict(state, X_test) == y_test))
    measured = result(smoke)['metrics']['test_accuracy_reader']['values'][0]     # a float32 mean
    assert abs(share - measured) < 1e-6 and about['rows'] == 4000
    model, state, about = programs.load(smoke / 'pca.safetensors')
    peer = PCA(about['components'], svd_solver='full').fit(X.astype(np.float64))
    assert peer.explained_variance_ratio_.sum() >= 0.9 > peer.explained_variance_ratio_[:-1].sum()
    ours = np.asarray(model.inverse(state, model.transform(state, X_test)))
    assert np.abs(ours - peer.inverse_transform(peer.transform(X_test.astype(np.float64)))).max() < 2e-3
    for damage in (b'', b'\x08' * 100, (smoke / 'pca.safetensors').read_bytes()[:-8]):
        (tmp_path / 'bad').write_bytes(damage)
        with pytest.raises(DataError, match='not a model of this project'):
            programs.load(tmp_path / 'bad')


@pytest.fixture(scope='module')
def judged(digits):
    """(run, X, y, mask of the training digits, numbers of the others): a small fold."""
    c = SimpleNamespace(ranks=(1, 5, 20), dims=(2, 8), neighbors=3, C=1.0)
    X, y = digits[0][0][::20], digits[0][1][::20]
    seen = (np.arange(len(X)) % 4 != 0).astype(np.float32)
    held = np.flatnonzero(seen == 0).astype(np.int32)
    key = np.asarray(jax.random.key_data(jax.random.key(0)))
    run = jax.jit(lambda shared, mask: programs.judge(c)(shared, programs.Folds(key, mask, held)))
    return run, X, y, seen, held


def test_nothing_of_held_out_digits_reaches_what_is_fitted(judged):
    """One held-out digit is told and rebuilt the same whatever the other ones are, and whatever its label is."""
    run, X, y, seen, held = judged
    changed = (seen == 0) & (np.arange(len(X)) != held[0])
    spoiled = np.where(changed[:, None], np.float32(9), X), np.where(seen == 0, 3, y).astype(np.int32)
    first = lambda found: jax.tree.map(lambda v: v[..., 0], found._replace(seen=found.seen[..., None]))
    same = lambda mask: [np.array_equal(a, b) for a, b in zip(first(run((X, y), mask)), first(run(spoiled, mask)))]
    assert all(same(seen))
    assert not any(same(np.ones_like(seen))[2:]), 'components of all digits would be caught'


def test_a_fold_s_numbers_are_scikit_learn_s(judged):
    run, X, y, seen, held = judged
    found = jax.device_get(run((X, y), seen))
    own = seen > 0
    for i, rank in enumerate((1, 5, 20)):
        peer = PCA(rank, svd_solver='full').fit(X[own].astype(np.float64))
        error = ((peer.inverse_transform(peer.transform(X.astype(np.float64))) - X) ** 2).mean(1)
        assert np.allclose(found.error[0, i], error[held], rtol=1e-3) and np.isclose(found.seen[i], error[own].mean(),
                                                                                     rtol=1e-3)
    peer = PCA(8, svd_solver='full').fit(X[own].astype(np.float64))
    for i, d in enumerate((2, 8)):
        Z = peer.transform(X.astype(np.float64))[:, :d]
        guess = KNeighborsClassifier(3).fit(Z[own], y[own]).predict(Z[held])
        assert np.mean(guess == found.guess[0, 0, i]) > 0.97            # ties are cut otherwise
    assert np.mean(KNeighborsClassifier(3).fit(X[own], y[own]).predict(X[held]) == found.raw[0]) > 0.97
    # a random projection keeps the share of the length that it has dimensions, on average
    assert abs(1 - found.error[1, 2].mean() / found.flat.mean() - 20 / 784) < 0.02


def test_parallel_analysis():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12)) + 2 * rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12))      # two factors
    X = X.astype(np.float32)
    keys = [np.asarray(jax.random.key_data(jax.random.key(i))) for i in range(5)]
    nulls = np.stack([np.asarray(programs.null(X, key)) for key in keys])
    variances = np.linalg.eigvalsh(np.cov(X.T))[::-1]
    assert programs.above(variances, nulls) == 2
    assert np.allclose(nulls.sum(1), X.var(0, ddof=1).sum(), rtol=1e-4) and (np.diff(nulls) <= 0).all()
    noise = rng.normal(size=(300, 12)).astype(np.float32)
    nulls = np.stack([np.asarray(programs.null(noise, key)) for key in keys])
    assert programs.above(np.linalg.eigvalsh(np.cov(noise.T))[::-1], nulls) <= 1


def test_maps_are_judged_without_the_digit_itself():
    """Two labels in turn on a line: each digit's ten nearest others are five of either; itself would tip the vote."""
    Y = np.stack([np.arange(40.0), np.zeros(40)], 1).astype(np.float32)
    _, guess = maps.judged(Y, Y, np.where(np.arange(40) < 20, 3, 8))
    assert (np.asarray(guess) == np.where(np.arange(40) < 20, 3, 8))[[0, 1, 2, 37, 38, 39]].all()
    trust, guess = maps.judged(Y, Y, np.array([0] * 39 + [1]))
    assert trust == 1 and guess[39] == 0


def test_folds_are_stratified_and_apart(digits):
    c = SimpleNamespace(folds=3)
    y = digits[0][1][:301]
    tasks = programs.folds(c, [0, 1], y)
    assert tasks.train.shape == (6, 301)
    for s in (0, 1):
        held = [set(t.tolist()) for t in tasks.test[3 * s:3 * s + 3]]
        assert set.union(*held) == set(range(301)) and sum(map(len, held)) == 301
    for train, test in zip(tasks.train, tasks.test):
        assert not train[test].any() and train.sum() + len(set(test.tolist())) == 301


def test_wrong_commands(tmp_path):
    assert 'mnist' in finish(tmp_path / 'a', '--config=full_mnist', f'--data_dir={tmp_path}', code=5)
    assert 'sums nothing' in finish(tmp_path / 'b', '--config=smoke', '--reduction=ordered', code=2)
    assert 'expected at most 4000' in finish(tmp_path / 'c', '--config=smoke', '--config.map_rows=5000', code=2)
    assert 'shown=7: expected one of' in finish(tmp_path / 'd', '--config=smoke', '--config.shown=7', code=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=5', timeout=1700)
    r = result(tmp_path)
    assert r['passed'] and r['expected']
    for name, (value, side) in r['expected'].items():
        values = r['metrics'][name]['values']
        assert min(values) >= value if side == '>=' else max(values) <= value, name
    assert r['comparison']['knn_random_20 - knn_pca_20']['low'] > 0.1      # share of errors
    assert r['solvers']['full']['angle'] < 0.01 and all(s['angle'] < 1 for s in r['solvers'].values())


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_full_mnist(tmp_path, shared_file):
    finish(tmp_path, '--config=full_mnist', '--config.folds=2', '--config.nulls=1',
           f'--data_dir={shared_file("mnist.npz").parent}', timeout=2900)
    r = result(tmp_path)
    assert r['data']['train'] == 60_000 and r['metrics']['test_accuracy_reader']['mean'] > 0.9


def test_expected_values_are_for_whole_recipes_only():
    full = config_lib.get_config()
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
