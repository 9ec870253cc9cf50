"""The project as its users run it: what it leaves behind, no leaks, the same in scikit-learn, killed and run again."""
import functools
import signal
import time

import jax
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from common import datasets, housing
from common.errors import DataError
from levels.level1_classical import model_selection as ms
from levels.level1_classical import study
from projects.level1_house_prices import config as config_lib
from projects.level1_house_prices import models
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level1_house_prices.main'
SMOKE = config_lib.VARIANTS['smoke']['models']
SMALL = models.Sizes(trees=10, rounds=10, rows=100)
POINTS = {name: {k: float(v[len(v) // 2]) for k, v in models.grid(name, 3).items()} for name in config_lib.MODELS}
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('houses')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'ridge.safetensors', *(f'plots/{n}.png' for n in (
            'models', 'path', 'cv', 'predicted', 'slices'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['verified'] and (r['data']['train'], r['data']['test']) == (404, 102) and r['seeds'] == [0, 1]
    for name in SMOKE:
        assert len(r['metrics'][f'cv_rmse_{name}']['values']) == 2 and 0.2 < r['metrics'][f'gain_{name}']['mean'] < 0.7
        assert f'{name} - mean' in r['comparison'] and r['comparison'][f'{name} - mean']['high'] < 0
    assert set(r['comparison']) >= {'ridge - ols', 'lasso - ols', 'knn - ridge'} and len(r['comparison']) == 10
    assert {s['column'] for s in r['slices']} == {'price', 'lowstat', 'rooms', 'crime'}
    assert sum(s['count'] for s in r['slices'] if s['column'] == 'price') == 404 * len(SMOKE)
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    while not list(tmp_path.glob('scores/*.npy')) and process.poll() is None:
        time.sleep(0.02)
    processes.kill_after(process, 0, signal.SIGKILL)        # one model is searched, or some
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('scores/*.npy')}
    assert kept
    assert not (tmp_path / 'result.json').exists()
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "split": "test", "cv_r2_ols": 0.1}\n{"torn')
    finish(tmp_path, '--config=smoke', '--seeds=2')
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, 'searched again'
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    for name in SMOKE:
        assert (tmp_path / f'{name}.safetensors').read_bytes() == (smoke / f'{name}.safetensors').read_bytes()


@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=4')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """3 outer and 6 inner folds over 2 and 4 devices: shares that do not come out even."""
    finish(tmp_path, '--config=smoke', '--seeds=2', *flags)
    ours, theirs = result(tmp_path), result(smoke)
    assert ours['best'] == theirs['best']
    for name, metric in theirs['metrics'].items():
        assert np.allclose(ours['metrics'][name]['values'], metric['values'], rtol=1e-4), name


def test_the_artefact_predicts_what_was_measured(smoke, tmp_path):
    test = datasets.load('hprice2').test
    for name in SMOKE:
        predict, about = models.load(smoke / f'{name}.safetensors')
        rmse = float(np.sqrt(np.mean((np.asarray(predict(test['x'])) - test['price']) ** 2)))
        assert abs(rmse - result(smoke)['metrics'][f'test_rmse_{name}']['values'][0]) < 1e-4 * rmse
        assert about['model'] == name and about['features'][2] == 'rooms' and about['data']['name'] == 'hprice2'
    for damage in (b'', b'\x08' * 100, (smoke / 'ridge.safetensors').read_bytes()[:-8]):
        (tmp_path / 'bad').write_bytes(damage)
        with pytest.raises(DataError, match='not a model of this project'):
            models.load(tmp_path / 'bad')


@functools.cache
def fit(name):
    """(x, y, weight) -> state of a small model, compiled."""
    model = models.maker(name, SMALL)(**POINTS[name])
    return jax.jit(lambda x, y, w: model.fit(jax.random.key(0), x, y, w))


@pytest.mark.parametrize('name', config_lib.MODELS)
def test_nothing_of_a_test_fold_reaches_what_is_fitted(name):
    """Other values, and none at all, in the test rows leave every number of the fitted fold as it was, to the bit; of
    the two that keep rows, and so those without weight too, all that they say."""
    train = datasets.load('hprice2').train
    x, y = train['x'][:200], train['price'][:200]
    fold = ms.splits('kfold', x, n_splits=5, shuffle=True, random_state=0)
    predict = functools.partial(models.predict_of(name, SMALL), POINTS[name])
    kept = (lambda state: predict(state, train['x'][200:])) if name in ('knn', 'svr') else lambda state: state
    hidden = fold.test[0]
    spoiled = np.where(hidden[:, None], np.float32(1e3), x), np.where(hidden, np.float32(-1e4), y)
    spoiled[0][np.flatnonzero(hidden)[0], 1] = np.nan
    w = fold.train[0].astype(np.float32)
    same = lambda a, b: all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    of = lambda *given: kept(fit(name)(*given))
    assert same(of(x, y, w), of(*spoiled, w))
    assert not same(of(x, y, np.ones_like(w)), of(*spoiled, np.ones_like(w))), 'a fit on all rows would be caught'


@pytest.mark.parametrize('name', sorted({*config_lib.MODELS} - {*SMOKE}))
def test_the_saved_form_of_models_that_a_smoke_run_leaves_out(name, tmp_path):
    """What comes back says the same, to the bit."""
    train = datasets.load('hprice2').train
    x, y = train['x'][:200], train['price'][:200]
    state = jax.device_get(fit(name)(x, y, np.ones_like(y)))
    path = study.save(tmp_path / name, state, {'model': name, 'best': POINTS[name], 'rows': len(y),
                                               'sizes': SMALL._asdict(), 'features': housing.BOSTON})
    predict, _ = models.load(path)
    assert np.array_equal(predict(train['x']), models.predict_of(name, SMALL)(POINTS[name], state, train['x']))


@pytest.mark.parametrize('name', models.FACES)
def test_scikit_learn_s_pipeline_gives_the_same_scores(name):
    train = datasets.load('hprice2').train
    x, y = train['x'][:150].astype(np.float64), train['price'][:150].astype(np.float64)
    grid = {'alpha': models.grid(name, 3)['alpha'][1:]} if name != 'ols' else {}
    folds = ms.splits('kfold', x, n_splits=3, shuffle=True, random_state=0)
    pairs = [(np.flatnonzero(a), np.flatnonzero(b)) for a, b in zip(*folds)]
    sizes = models.Sizes(tol=1e-6)
    pipeline, penalty = models.pipeline(name, sizes)
    peer = GridSearchCV(pipeline, {penalty: grid['alpha']} if grid else {}, cv=pairs).fit(x, y)
    theirs = np.stack([peer.cv_results_[f'split{f}_test_score'] for f in range(3)])
    make = models.maker(name, sizes)
    ours = ms.grid_search(make if grid else lambda nothing: make(), x, y, folds, grid or {'nothing': [0.0]})
    assert np.abs(ours.scores - theirs).max() < 2e-3 and ours.index == peer.best_index_     # float32 against float64


def test_california(tmp_path, shared_file):
    finish(tmp_path, '--config=smoke', '--config.data=california_housing', "--config.models=('ols','ridge')",
           f'--data_dir={shared_file("california_housing.csv").parent}')
    r = result(tmp_path)
    assert r['data']['verified'] and r['metrics']['cv_r2_ols']['mean'] > 0.6


def test_wrong_commands(tmp_path):
    said = finish(tmp_path / 'a', '--config=california', f'--data_dir={tmp_path}', code=5)
    assert 'put the 1990 census table' in said
    assert 'sums nothing' in finish(tmp_path / 'b', '--config=smoke', '--reduction=ordered', code=2)
    assert 'did you mean' in finish(tmp_path / 'c', "--config.models=('tre',)", code=2)
    assert 'expected one or more, each once' in finish(tmp_path / 'd', '--config.models=()', code=2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=5', timeout=1400)
    r = result(tmp_path)
    assert r['passed'] and r['expected']
    for name, (value, _) in r['expected'].items():
        assert min(r['metrics'][name]['values']) >= value, name
    assert r['comparison']['ridge - ols']['high'] < 0 and r['comparison']['lasso - ols']['high'] < 0
    assert all(r['comparison'][f'{name} - mean']['high'] < 0 for name in config_lib.MODELS)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_california_recipe(tmp_path, shared_file):
    finish(tmp_path, '--config=california', f'--data_dir={shared_file("california_housing.csv").parent}', timeout=1400)
    assert result(tmp_path)['passed'] and result(tmp_path)['expected']


def test_expected_values_are_for_whole_recipes_only():
    full = config_lib.get_config()
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
