"""Pneumonia: the generator and its bound, parts that share no patient, measures, the run as its users run it."""
import functools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve
from sklearn.utils.class_weight import compute_class_weight

from common.runs import read_metrics
from common.task import Carry
from levels.level2_neural.losses import softmax_cross_entropy
from projects.level3_pneumonia import chest, experiment, measures, models
from projects.level3_pneumonia import config as config_lib
from tests.common.picture_fixture import chests
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level3_pneumonia.main'
finish = functools.partial(processes.finish, module=MODULE)


@pytest.fixture(scope='module')
def made():
    return chest.make(800, seed=3)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('chest')
    finish(folder, '--config=smoke')
    return folder


def test_synthetic_pictures(made):
    """A function of the seed; one to four of a patient, whose anatomy and label they share; nobody's twice."""
    again = chest.make(800, seed=3)
    assert all((a == b).all() for a, b in zip(made, again)) and (made.image[:50] != chest.make(40, 4).image[:50]).any()
    counts = np.bincount(made.patient)
    assert set(counts) == {1, 2, 3, 4} and made.image.shape == (len(made.label), 28, 28, 1)
    labels = [set(made.label[made.patient == k]) for k in range(100)]
    assert all(len(found) == 1 for found in labels) and abs(made.label.mean() - chest.SICK) < 0.06
    flat = made.image.reshape(len(made.image), -1).astype(float)
    assert len(np.unique(flat, axis=0)) == len(flat) and 60 < flat.mean() < 190 and flat.std(1).min() > 20
    near = lambda i, j: np.abs(flat[i] - flat[j]).mean()
    twice = [np.flatnonzero(made.patient == k)[:2] for k in np.flatnonzero(counts > 1)[:200]]
    assert np.mean([near(i, j) for i, j in twice]) < 0.8 * np.mean([near(i, j + 40) for i, j in twice[:-30]])


def test_shadows_are_in_lungs_of_the_sick_and_brighten_them(made):
    shown = made.mask.any((1, 2))
    assert not made.mask[made.label == 0].any() and abs(shown[made.label == 1].mean() - (1 - chest.MISSED)) < 0.03
    share = made.mask[shown].mean((1, 2))
    assert 0.005 < np.median(share) < 0.12
    mean = made.image[..., 0].astype(float).mean(0)
    excess = [(image[mask > 0] - mean[mask > 0]).mean() for image, mask in zip(made.image[shown][..., 0],
                                                                              made.mask[shown])]
    assert 10 < np.mean(excess) < 90


def test_the_observer_s_log_likelihood_ratio_is_one(made, monkeypatch):
    """What it gives as the probability of a shadow is the share that has one: with so few rays that it is in doubt."""
    right = (chest.observer(made._asdict()) == made.label).mean()
    assert 0.9 < right < 1 - min(chest.MISSED, chest.SCARRED) + 0.02
    monkeypatch.setattr(chest, 'PHOTONS', (2, 8))
    monkeypatch.setattr(chest, 'MISSED', 0.4)
    dim = chest.make(800, seed=5)
    sick = dim.label == 1
    says = expit(dim.llr[sick] + np.log((1 - chest.MISSED) / chest.MISSED))
    shown = dim.mask[sick].any((1, 2))
    for low, high in ((0, 1), (0.1, 0.5), (0.5, 0.9)):
        some = (says >= low) & (says <= high)
        error = np.sqrt((says[some] * (1 - says[some])).sum()) / some.sum()
        assert some.sum() > 100 and abs(says[some].mean() - shown[some].mean()) < 4 * error, (low, high)


def test_no_patient_is_in_two_parts():
    for split, shared in (('patient', False), ('image', True)):
        dataset = chest.dataset(200, split)
        rows = experiment.parts(dataset)
        assert (experiment.shared_patients(rows) > 0) == shared
        sizes = np.array([len(rows[k]['label']) for k in ('train', 'validation', 'test')])
        assert np.abs(sizes / sizes.sum() - chest.PARTS).max() < 0.06
        pictures = [{x.tobytes() for x in part['image']} for part in rows.values()]
        assert not (pictures[0] & pictures[1] or pictures[0] & pictures[2] or pictures[1] & pictures[2])
        assert 'SYNTHETIC' in dataset.describe()['source'] and dataset.describe()['name'] == 'synthetic_chest'


@pytest.fixture(scope='module')
def scores():
    """(labels, log-odds that are three times too sure)."""
    rng = np.random.RandomState(0)
    z = 1.5 * rng.normal(size=20_000)
    return (rng.uniform(size=len(z)) < expit(z)).astype(int), 3 * z


def test_thresholds(scores):
    """Against trying out every threshold."""
    y, z = (v[:300] for v in scores)
    z = np.round(z, 1)                      # with equal scores
    tried = np.array([measures.rates(y, z, t) for t in np.append(np.unique(z), 99.0)])
    assert measures.rates(y, z, measures.balanced_threshold(y, z)) == tuple(tried[tried.sum(1).argmax()])
    for wanted in (0.5, 0.9, 0.95, 0.999):
        sensitivity, specificity = measures.rates(y, z, measures.specific_threshold(y, z, wanted))
        assert specificity >= wanted and sensitivity == tried[tried[:, 1] >= wanted, 0].max()
    assert measures.rates(np.array([0, 0, 1, 1]), np.array([0.0, 2.0, 1.0, 3.0]), 1.0) == (1.0, 0.5)


def test_calibration(scores):
    """The temperature is what was multiplied, scikit-learn draws the same diagram, and an ECE by hand."""
    y, z = scores
    assert abs(measures.temperature(y, z) - 3) < 0.15
    p = expit(z)
    b = measures.bins(y, p, 10)
    true, said = calibration_curve(y, p, n_bins=10)
    assert np.allclose(b.true, true) and np.allclose(b.said, said) and b.rows.sum() == len(y)
    assert measures.ece(y, p, 10) > 0.1 and measures.ece(y, expit(z / 3), 10) < 0.015
    assert np.isclose(measures.ece(np.array([0, 1, 1, 1]), np.array([0.1, 0.2, 0.9, 1.0]), 2), 0.5 * 0.35 + 0.5 * 0.05)
    assert np.isclose(measures.log_loss(y, z), sk.log_loss(y, p), rtol=1e-6)
    assert np.isclose(measures.auroc(y, z), sk.roc_auc_score(y, z), atol=1e-6)
    extreme = measures.measure(np.array([0, 1]), np.array([-1e4, 1e4]), measures.Chosen(0.0, 0.0, 1.0), 10)
    assert all(np.isfinite(v) for v in extreme.values()) and extreme['accuracy'] == extreme['auroc'] == 1


def test_only_validation_rows_choose(made):
    """Other test labels change what is measured and nothing that was chosen; validation labels do."""
    c = config_lib.get_config('smoke')
    rows = experiment.parts(chest.dataset(80, 'patient'))
    state = models.build(c, rows['train']['label']).init(jax.random.key(0), rows['train'])
    carry = Carry(jnp.zeros((), jnp.int32), jax.random.key(0), state)
    flipped = lambda name: {**rows, name: {**rows[name], 'label': 1 - rows[name]['label']}}
    first, other, held = (experiment.scorer(c, r)(carry) for r in (rows, flipped('test'), flipped('validation')))
    assert first['temperature'] == other['temperature'] != held['temperature']
    assert np.isclose(first['accuracy'], 1 - other['accuracy']) and np.isclose(first['auroc'], 1 - other['auroc'])


def test_classes_count_alike():
    """The weighted loss is that of `softmax_cross_entropy`, the weights are scikit-learn's, the odds come back."""
    rng = np.random.RandomState(0)
    labels = np.array([0] * 9 + [1] * 3, np.int32)
    batch = {'image': rng.randint(0, 256, (12, 28, 28, 1)).astype(np.uint8), 'label': labels}
    weights = models.class_weights(labels)
    assert np.allclose(weights, compute_class_weight('balanced', classes=np.array([0, 1]), y=labels))
    c = config_lib.get_config('smoke')
    with c.unlocked():
        c.update({'augment': False, 'dropout': 0.0})
    task = models.build(c, labels)
    state = task.init(jax.random.key(0), batch)
    logits, _ = models.network(c).apply({'params': state.inner.params, **state.inner.extra}, batch['image'] / 255,
                                        train=True, mutable=['batch_stats'])
    loss = softmax_cross_entropy(logits, labels, class_weights=weights)
    _, seen = jax.jit(task.step)(jax.random.key(1), state, batch)
    assert np.isclose(float(seen['loss'].value), float(loss.sum() / weights[labels].sum()), rtol=1e-5)
    with_odds = models.logit(c, labels)(state, batch['image'])
    c.balance = False
    assert np.allclose(with_odds - models.logit(c, labels)(state, batch['image']), np.log(3 / 9), atol=1e-5)


def test_the_run_folder(smoke):
    for name in ('curves', 'roc', 'reliability', 'confusion', 'mistakes', 'grad_cam'):
        assert (smoke / f'plots/{name}.png').stat().st_size > 5000, name
    r = result(smoke)
    assert r['project'] == 'level3_pneumonia' and r['synthetic'] and 'SYNTHETIC' in r['data']['source']
    assert r['shared_patients'] == 0 and sum(r['parts'].values()) == r['data']['train'] + r['data']['test']
    assert set(r['metrics']) >= {'accuracy', 'auroc', 'sensitivity', 'specificity', 'ece', 'ece_scaled',
                                 'pointing_grad_cam', 'pointing_occlusion', 'pointing_chance'}
    assert not r['expected'] and any(k.startswith('bound') for k in r['baseline'])
    assert [x['step'] for x in read_metrics(smoke) if x['split'] == 'test'] == [10, 20]
    out = finish(smoke, '--config=smoke')
    assert 'is finished' in out


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', module=MODULE)
    processes.wait_for_step(tmp_path, 10)
    processes.kill_after(process, 0, signal.SIGKILL)
    assert not (tmp_path / 'result.json').exists()
    assert 'SYNTHETIC data' in finish(tmp_path, '--config=smoke')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


@pytest.mark.slow
def test_a_file_in_the_form_of_pneumoniamnist(tmp_path):
    np.savez(tmp_path / 'pneumoniamnist.npz', **chests(60, 30, 40))
    out = finish(tmp_path / 'run', '--config=smoke', '--config.data=pneumoniamnist', f'--data_dir={tmp_path}')
    r = result(tmp_path / 'run')
    assert not r['synthetic'] and r['shared_patients'] == -1 and r['data']['verified'] is False
    assert 'SYNTHETIC' not in out and 'not known' in out and 'pointing_occlusion' not in r['metrics']
    assert r['parts'] == {'train': 60, 'validation': 30, 'test': 40}


@pytest.mark.slow
@pytest.mark.parametrize('flags', [('--strategy=mesh', '--host_devices=2'), ('--strategy=pmap', '--host_devices=2')])
def test_other_ways_to_run_give_the_same_numbers(smoke, tmp_path, flags):
    finish(tmp_path, '--config=smoke', *flags)
    for a, b in zip(read_metrics(smoke), read_metrics(tmp_path), strict=True):
        assert a.keys() == b.keys() and abs(a['loss'] - b['loss']) < 5e-3 * a['loss']


@pytest.mark.slow
@pytest.mark.parametrize('mode', ['vmap', 'turn'])
def test_seeds(smoke, tmp_path, mode):
    finish(tmp_path, '--config=smoke', '--seeds=2', f'--seed_mode={mode}')
    values = result(tmp_path)['metrics']['loss']['values']
    assert abs(values[0] - result(smoke)['metrics']['loss']['mean']) < 1e-3 and values[0] != values[1]


def test_what_is_expected_is_for_whole_recipes_only():
    assert config_lib.expected(config_lib.get_config('pneumoniamnist')) == {
        'accuracy': (0.85, '>='), 'auroc': (0.94, '>='), 'sensitivity': (0.95, '>='), 'specificity': (0.50, '>=')}
    full = config_lib.get_config()
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
    with full.unlocked():
        full.split = 'image'
    assert not config_lib.expected(full)
    with pytest.raises(ValueError, match='split=image: expected patient'):
        with full.unlocked():
            full.data = 'pneumoniamnist'
        config_lib.check(full)


SIDES = {'>=': lambda a, b: a >= b, '<=': lambda a, b: a <= b}


@pytest.mark.parametrize('size', ['full', 'pneumoniamnist'])
@pytest.mark.parametrize('threshold', [-np.inf, -5.0, 7.0, np.inf])
def test_no_threshold_far_off_passes(scores, size, threshold):
    """Calling (nearly) everybody sick misses the bound of specificity, nobody that of sensitivity."""
    y, z = scores
    found = measures.measure(y, z, measures.Chosen(0.0, threshold, 1.0), 10)
    expected = config_lib.expected(config_lib.get_config(size))
    missed = {k for k in ('sensitivity', 'specificity') if not SIDES[expected[k][1]](found[k], expected[k][0])}
    assert missed == ({'specificity'} if threshold < 0 else {'sensitivity'})


def assert_expected(r, seeds):
    """Every seed, not just their mean, is on the right side."""
    assert r['passed'] and r['expected'] and len(r['seeds']) == seeds
    for name, (value, side) in r['expected'].items():
        assert all(SIDES[side](v, value) for v in r['metrics'][name]['values']), (name, r['metrics'][name])
    base = r['baseline']
    assert r['metrics']['auroc']['mean'] > base['logistic regression: auroc']
    assert r['metrics']['accuracy']['mean'] > base['the more frequent class: accuracy']


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_recipe_reaches_what_is_expected_and_stays_below_the_bound(tmp_path):
    finish(tmp_path, '--seeds=3', timeout=1400)
    r = result(tmp_path)
    assert_expected(r, 3)
    bound, = (v for k, v in r['baseline'].items() if k.startswith('bound'))
    assert max(r['metrics']['accuracy']['values']) < bound + 0.01
    assert r['metrics']['pointing_occlusion']['mean'] > 4 * r['metrics']['pointing_chance']['mean']


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_pneumoniamnist(tmp_path, shared_file):
    """On the published test rows, with thresholds from the validation rows."""
    folder = shared_file('pneumoniamnist.npz').parent
    finish(tmp_path, '--config=pneumoniamnist', '--seeds=3', f'--data_dir={folder}', timeout=1400)
    r = result(tmp_path)
    assert r['data']['verified'] and r['parts'] == {'train': 4708, 'validation': 524, 'test': 624}
    assert set(r['expected']) == {'accuracy', 'auroc', 'sensitivity', 'specificity'}
    assert_expected(r, 3)
