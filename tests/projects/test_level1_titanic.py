"""The project as its users run it: what it leaves behind, no leaks, the same in scikit-learn, killed and run again."""
import functools
import signal
import time

import jax
import numpy as np
import pytest
import xgboost
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.naive_bayes import BernoulliNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from common import datasets, passengers
from common.errors import DataError
from levels.level1_classical import study
from projects.level1_titanic import config as config_lib
from projects.level1_titanic import draw, experiment, models
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level1_titanic.main'
SMOKE = config_lib.VARIANTS['smoke']['models']
POINTS = {name: {k: float(v[len(v) // 2]) for k, v in grid.items()} for name, grid in models.GRIDS.items()}
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('titanic')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', *(f'{n}.safetensors' for n in SMOKE), *(
            f'plots/{n}.png' for n in ('models', 'calibration', 'roc', 'slices', 'importance', 'ages'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['verified'] and (r['data']['train'], r['data']['test']) == (1050, 263) and r['seeds'] == [0, 1]
    for name in SMOKE:
        assert len(r['metrics'][f'cv_accuracy_{name}']['values']) == 2
        assert r['comparison']['log_loss'][f'{name} - majority']['high'] < 0
        assert len(r['importance'][name]) == 9 if name in draw.LEANING else name not in r['importance']
    assert r['metrics']['gain_boosting']['mean'] > 0.02 and 0.8 < r['metrics']['cv_auc_boosting']['mean'] < 0.9
    assert len(r['comparison']['accuracy']) == 6 and 0.7 < r['baseline']['cv_accuracy of women'] < 0.85
    assert abs(r['baseline']['cv_auc of majority'] - 0.5) < 1e-6
    mine = [s for s in r['slices'] if s['model'] == 'bayes']
    people = lambda column: sum(s['count'] for s in mine if s['column'] == column)
    assert people('sex') == people('age') == 1050 and people('class') == 1049       # one man's is not known
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    while not list(tmp_path.glob('scores/*.npy')) and process.poll() is None:
        time.sleep(0.02)
    processes.kill_after(process, 0, signal.SIGKILL)        # one model is searched, or some
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('scores/*.npy')}
    assert kept
    assert not (tmp_path / 'result.json').exists()
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "split": "test", "cv_auc_bayes": 0.1}\n{"torn')
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
    assert ours['best'] == theirs['best'] and len(ours['metrics']) == 14
    for name, metric in theirs['metrics'].items():
        assert np.allclose(ours['metrics'][name]['values'], metric['values'], rtol=1e-4), name


def test_the_artefact_predicts_what_was_measured(smoke, tmp_path):
    test = datasets.load('titanic').test
    for name in SMOKE:
        proba, about = models.load(smoke / f'{name}.safetensors')
        loss = log_loss(test['survived'], np.asarray(proba(test['x']), np.float64)[:, 1])
        assert abs(loss - result(smoke)['metrics'][f'test_log_loss_{name}']['values'][0]) < 1e-5
        assert about['model'] == name and about['features'][2] == 'male' and about['data']['name'] == 'titanic'
    for damage in (b'', b'\x08' * 100, (smoke / 'boosting.safetensors').read_bytes()[:-8]):
        (tmp_path / 'bad').write_bytes(damage)
        with pytest.raises(DataError, match='not a model of this project'):
            models.load(tmp_path / 'bad')


@functools.cache
def fit(name):
    """(x, y, weight) -> state of a small model, compiled."""
    model = models.RULES.get(name) or models.make(name, 10, 10, **POINTS[name])
    return jax.jit(lambda x, y, w: model.fit(jax.random.key(0), x, y, w))


def chances(name, state, x):
    return models.RULES[name].proba(state, x) if name in models.RULES else models.proba_of(name, 10, 10)(
        POINTS[name], state, x)


@pytest.mark.parametrize('name', [*config_lib.MODELS, *models.RULES])
def test_nothing_of_a_test_fold_reaches_what_is_fitted(name):
    """Other values, and none at all, in the test rows leave what the fitted fold says as it was, to the bit."""
    train = datasets.load('titanic').train
    x, y = train['x'][:240], train['survived'][:240].astype(np.float32)
    fold = study.folds('stratified', len(y), y, outer=4, inner=2, seed=0).outer
    hidden = fold.test[0]
    spoiled = np.where(hidden[:, None], 1 - x, x), np.where(hidden, 1 - y, y)
    spoiled[0][hidden, 3] = np.where(np.arange(hidden.sum()) % 2, np.nan, 500)
    said = lambda *given: chances(name, fit(name)(*given), train['x'][240:480])
    same = lambda w: np.array_equal(said(x, y, w), said(*spoiled, w))
    assert same(fold.train[0].astype(np.float32))
    assert not same(np.ones(len(y), np.float32)), 'a fit on all rows would be caught'


@pytest.mark.parametrize('name', sorted({*config_lib.MODELS} - {*SMOKE}))
def test_the_saved_form_of_models_that_a_smoke_run_leaves_out(name, tmp_path):
    """What comes back says the same, to the bit."""
    train = datasets.load('titanic').train
    x, y = train['x'][:240], train['survived'][:240].astype(np.float32)
    state = jax.device_get(fit(name)(x, y, np.ones(len(y), np.float32)))
    path = study.save(tmp_path / name, state, {'model': name, 'best': POINTS[name], 'rows': len(y), 'trees': 10,
                                               'rounds': 10, 'features': passengers.ALL})
    proba, _ = models.load(path)
    assert np.array_equal(proba(train['x'][240:480]), chances(name, state, train['x'][240:480]))


def test_peers_have_the_same_losses():
    """Scikit-learn's logistic regression and naive Bayes; xgboost, whose bins differ a little."""
    train = datasets.load('titanic').train
    x, y = train['x'].astype(np.float64), train['survived']
    scaled = lambda last: make_pipeline(SimpleImputer(), StandardScaler(), *last)
    peers = {'logistic': scaled((PolynomialFeatures(2, include_bias=False), StandardScaler(),
                                 LogisticRegression(C=0.1, max_iter=2000, tol=1e-8))),
             'bayes': scaled((BernoulliNB(alpha=3.0, binarize=models.ABOVE),)),
             'boosting': xgboost.XGBClassifier(tree_method='hist', learning_rate=0.1, n_estimators=50, max_depth=3,
                                               max_bin=64)}
    points = {'logistic': {'C': 0.1}, 'bayes': {'alpha': 3.0}, 'boosting': {'learning_rate': 0.1, 'reg_lambda': 1.0}}
    fold = study.folds('stratified', len(y), y, outer=3, inner=2, seed=1).outer
    for name, peer in peers.items():
        model = models.make(name, 1, 50, **points[name])
        proba = jax.jit(lambda w, m=model: m.proba(m.fit(jax.random.key(0), train['x'], y, w), train['x']))
        apart = []
        for a, b in zip(*fold):
            ours = log_loss(y[b], np.asarray(proba(a.astype(np.float32)), np.float64)[b, 1])
            theirs = log_loss(y[b], peer.fit(x[a], y[a]).predict_proba(x[b])[:, 1])
            apart.append(ours - theirs)
        assert np.abs(apart).max() < (0.01 if name == 'boosting' else 2e-4), (name, apart)


def test_the_rules_say_shares_of_the_training_fold():
    train = datasets.load('titanic').train
    x, y = train['x'], train['survived']
    folds = experiment.folds_of(config_lib.get_config('smoke'), y, 0)
    a, b = folds.outer.train[1], folds.outer.test[1]
    woman = x[:, 2] == 0
    everybody, women = (models.out_of_fold(name, x, y, folds)[:, 1] for name in ('majority', 'women'))
    assert np.allclose(everybody[b], y[a].mean()) and np.allclose(women[b & woman], y[a & woman].mean())
    assert np.allclose(women[b & ~woman], y[a & ~woman].mean())


def test_the_891_with_fares(tmp_path, shared_file):
    finish(tmp_path, '--config=smoke', '--config.data=titanic_891', "--config.models=('bayes',)",
           f'--data_dir={shared_file("titanic.csv").parent}')
    r = result(tmp_path)
    assert r['data']['verified'] and r['data']['train'] == 712 and len(r['importance']['bayes']) == 14
    assert r['metrics']['cv_auc_bayes']['mean'] > 0.8


def test_wrong_commands(tmp_path):
    said = finish(tmp_path / 'a', '--config=fares', f'--data_dir={tmp_path}', code=5)
    assert 'put the training table of 891 passengers' in said
    assert 'sums nothing' in finish(tmp_path / 'b', '--config=smoke', '--reduction=ordered', code=2)
    assert 'did you mean' in finish(tmp_path / 'c', "--config.models=('tre',)", code=2)
    assert 'expected one or more, each once' in finish(tmp_path / 'd', "--config.models=('tree','tree')", code=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=5', timeout=1700)
    r = result(tmp_path)
    assert r['passed'] and r['expected'] and (tmp_path / 'plots/tree.png').exists()
    for name, (value, _) in r['expected'].items():
        assert min(r['metrics'][name]['values']) >= value, name
    for name in ('logistic', 'forest', 'boosting'):
        assert r['comparison']['log_loss'][f'{name} - women']['high'] < 0, name


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_with_fares(tmp_path, shared_file):
    finish(tmp_path, '--config=fares', '--seeds=5', f'--data_dir={shared_file("titanic.csv").parent}', timeout=1700)
    assert result(tmp_path)['passed'] and result(tmp_path)['expected']


def test_expected_values_are_for_whole_recipes_only():
    full = config_lib.get_config()
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
