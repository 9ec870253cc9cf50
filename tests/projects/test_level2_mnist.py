"""The project as its users run it: what it leaves behind, under every strategy, and what it is expected to reach."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import trees
from common.runs import read_metrics
from common.task import train_fn
from projects.level2_mnist import ablation, tuning
from projects.level2_mnist import config as config_lib
from tests.faults import processes
from tests.faults.processes import ROOT, finish, result

SMOKE = ('--config=smoke', '--config.baseline_rows=0')
TUNING = ('--config=tuning_smoke', '--config.baseline_rows=0')


def assert_expected(folder, seeds):
    """Every seed, not just their mean, is on the right side; the config names something to expect."""
    r = result(folder)
    (value, op), = r['expected'].values()
    assert op == '>=' and r['passed'] and len(r['metrics']['accuracy']['values']) == seeds
    assert min(r['metrics']['accuracy']['values']) >= value, r['metrics']
    assert r['metrics']['accuracy']['mean'] > max(r['baseline'].values() or [0])


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('smoke')
    finish(folder, '--config=smoke')
    return folder


def test_the_run_folder_holds_what_design_md_says(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'timing.jsonl', 'result.json', 'plots/curves.png',
                 'plots/confusion.png', 'plots/mistakes.png', 'samples', 'checkpoints/00000020/manifest.json'):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert set(r) >= {'project', 'data', 'metrics', 'baseline', 'expected', 'passed', 'seeds', 'seconds',
                      'state_sha256', 'versions', 'device'}
    assert r['project'] == 'level2_mnist' and r['data']['name'] == 'mnist_5k'
    assert (r['data']['train'], r['data']['test'], r['data']['verified']) == (4000, 1000, True)
    assert r['metrics']['accuracy']['ci95'] == [None, None] and set(r['seconds']) == {'total', 'train', 'compile'}
    rows = read_metrics(smoke)
    assert [x['step'] for x in rows if x['split'] == 'train'] == [5, 10, 15, 20]
    assert [x['step'] for x in rows if x['split'] == 'test'] == [10, 20]


@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=4'),
                                   ('--strategy=mesh', '--host_devices=2', '--sharding=params/.*kernel=fsdp')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    finish(tmp_path, *SMOKE, *flags)
    for a, b in zip(read_metrics(smoke), read_metrics(tmp_path), strict=True):
        assert a.keys() == b.keys() and abs(a['loss'] - b['loss']) < 2e-4 * a['loss']


def test_streamed_data_gives_the_same_bits(smoke, tmp_path):
    finish(tmp_path, *SMOKE, '--config.source=stream')
    assert result(tmp_path)['state_sha256'] == result(smoke)['state_sha256']


@pytest.mark.parametrize('mode', ['vmap', 'turn', 'devices'])
def test_seeds_run_three_ways(tmp_path, smoke, mode):
    finish(tmp_path, *SMOKE, '--seeds=2', f'--seed_mode={mode}', '--host_devices=2')
    m = result(tmp_path)['metrics']
    assert result(tmp_path)['seed_mode'] == mode and len(m['loss']['values']) == 2
    low, high = m['loss']['ci95']
    assert low < m['loss']['mean'] < high and abs(m['loss']['mean'] - np.mean(m['loss']['values'])) < 1e-12
    assert abs(m['loss']['values'][0] - result(smoke)['metrics']['loss']['mean']) < 1e-4
    assert m['loss']['values'][0] != m['loss']['values'][1]


def test_f13_a_value_that_is_not_finite_ends_with_code_3_and_names_step_and_tensor(tmp_path):
    out = finish(tmp_path, *SMOKE, '--config.model=mlp', '--config.weight_decay=3e38', code=3)
    assert 'error: step ' in out and 'is not finite' in out and 'Traceback' not in out
    assert not (tmp_path / 'result.json').exists()


def test_full_mnist_is_missing_by_name(tmp_path):
    out = finish(tmp_path / 'run', '--config=full_mnist', f'--data_dir={tmp_path}', code=5)
    assert str(tmp_path / 'mnist.npz') in out and 'tools.prepare_data' in out and 'Traceback' not in out


def test_the_mlp_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--config=mlp', '--seeds=2', '--config.baseline_rows=0')
    assert_expected(tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(('size', 'seeds'), [('full', 5), ('mlp', 5), ('dnn', 5), ('original', 3)])
def test_every_recipe_reaches_what_is_expected(tmp_path, size, seeds):
    finish(tmp_path, f'--config={size}', f'--seeds={seeds}', timeout=1400)
    assert_expected(tmp_path, seeds)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(('size', 'least'), [('full_mnist', 0.99), ('original_mnist', 0.975)])
def test_lenet_on_full_mnist(tmp_path, shared_file, size, least):
    finish(tmp_path, f'--config={size}', f'--data_dir={shared_file("mnist.npz").parent}', timeout=1400)
    assert_expected(tmp_path, 1)
    assert result(tmp_path)['metrics']['accuracy']['mean'] >= least


def test_expected_values_are_for_the_whole_recipe_only():
    assert config_lib.expected(config_lib.get_config('full')) == {'accuracy': (0.97, '>=')}
    assert config_lib.expected(config_lib.get_config('mlp'))['accuracy'][0] >= 0.945
    assert config_lib.expected(config_lib.get_config('smoke')) == {}
    original = config_lib.get_config('original_mnist')
    assert config_lib.expected(original) == {'accuracy': (0.975, '>=')}
    original.augment = True
    assert config_lib.expected(original) == {}
    assert ROOT.joinpath('projects/level2_mnist/README.md').exists()


@pytest.fixture(scope='module')
def ablated(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ablation')
    finish(folder, '--config=ablation_smoke', '--seeds=2', '--config.baseline_rows=0')
    return folder


def test_the_ablation_is_paired_over_seeds(ablated):
    r = result(ablated)
    parts = ('none', 'norm', 'dropout', 'both')
    assert set(r['metrics']) == {f'{m}_{p}' for p in parts for m in ('accuracy', 'loss', 'train_accuracy')} | {
        f'{m}_{p}' for p in parts[1:] for m in ('gain', 'loss_cut')} and r['seed_mode'] == 'vmap'
    values = {name: np.array(m['values']) for name, m in r['metrics'].items()}
    d = r['comparison']['accuracy: both - none']
    assert np.allclose(d['values'], values['accuracy_both'] - values['accuracy_none']) and len(d['values']) == 2
    assert np.allclose(values['loss_cut_norm'], values['loss_none'] - values['loss_norm'])
    assert d['verdict'] == ('better' if d['ci95'][0] > 0 else 'worse' if d['ci95'][1] < 0 else 'undecided')
    d = r['comparison']['loss: norm - none']
    assert d['verdict'] == ('better' if d['ci95'][1] < 0 else 'worse' if d['ci95'][0] > 0 else 'undecided')
    assert (ablated / 'plots/ablation.png').exists()


def test_the_four_networks_begin_alike_and_are_what_they_are_called():
    c = config_lib.get_config('ablation_smoke')
    batch = {'image': np.zeros((4, 28, 28, 1), np.uint8), 'label': np.arange(4)}
    state = jax.jit(ablation.build(c).init)(jax.random.key(0), batch)
    dense = {name: [part.inner.params['first'], part.inner.params['layers']['dense'], part.inner.params['last']]
             for name, part in state.items()}
    assert all(trees.sha256(d) == trees.sha256(dense['none']) for d in dense.values())
    assert {name: bool(part.inner.extra) for name, part in state.items()} == {
        'none': False, 'norm': True, 'dropout': False, 'both': True}
    assert {name: ablation.varied(c, name).dropout for name in state} == {
        'none': 0.0, 'norm': 0.0, 'dropout': c.dropout, 'both': c.dropout}


@pytest.fixture(scope='module')
def tuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tuning')
    finish(folder, *TUNING)
    return folder


def test_the_search_keeps_to_its_budget_and_reports_its_best(tuned):
    r, c = result(tuned), config_lib.get_config('tuning_smoke')
    t = r['tuning']
    assert t['spent'] == [t['budget']] == [c.trials * c.trial_steps]
    assert (t['learned_from'], t['scored_on']) == (3200, 800) and len(t['trials']['score']) == c.trials
    assert t['trials']['score'] == sorted(t['trials']['score'])
    assert r['metrics']['valid_loss']['mean'] == t['trials']['score'][0]
    assert all(t['best'][name][0] == t['trials'][name][0] for name in tuning.SPACE)
    again = np.array(t['trained_again'])
    assert again.shape == (2, c.again) and np.allclose(r['metrics']['accuracy']['mean'], again[0].mean())
    assert set(r['metrics']) == {'accuracy', 'gain', 'valid_loss'}
    assert np.allclose(r['baseline']['untuned'], again[1].mean())
    assert np.allclose(r['metrics']['gain']['mean'], (again[0] - again[1]).mean())
    assert np.allclose(r['comparison']['accuracy: tuned - untuned']['values'], again[0] - again[1])
    assert (tuned / 'plots/tuning.png').exists()


@pytest.mark.slow
def test_a_killed_search_resumes_and_finds_the_same(tuned, tmp_path):
    process = processes.start(tmp_path, *TUNING)
    processes.wait_for_step(tmp_path, 2)
    processes.kill_after(process, 0, signal.SIGKILL)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, *TUNING)
    assert processes.fingerprint(tmp_path) == processes.fingerprint(tuned)
    assert result(tmp_path)['tuning'] == result(tuned)['tuning']


def test_the_search_never_sees_what_it_is_scored_or_tested_on():
    """What is held out shares no image with what trials learn from, whatever the test set holds."""
    rng = np.random.default_rng(0)
    train = {'image': rng.integers(0, 256, (50, 28, 28, 1)).astype(np.uint8), 'label': np.arange(50) % 10}
    learn, held = tuning.split(train)
    seen = [{image.tobytes() for image in part['image']} for part in (learn, held)]
    assert len(seen[0]) == 40 and len(seen[1]) == 10 and not seen[0] & seen[1]
    assert len(set(held['label'])) > 3
    c = config_lib.get_config('tuning_smoke')
    given = tuning.batches(c, train)
    assert given['order'].shape == (c.trial_steps, c.batch_size) and given['order'].max() < 50


def test_a_trial_with_traced_numbers_is_the_one_with_plain_ones():
    """Without a norm: the biases before one have no slope but rounding, of which Adam makes whole steps."""
    c = config_lib.get_config('tuning_smoke')
    c.update(model='dnn', norm='none', width=8, depth=1)
    rng = np.random.default_rng(0)
    batch = {'image': rng.integers(0, 256, (c.batch_size, 28, 28, 1)).astype(np.uint8),
             'label': np.arange(c.batch_size, dtype=np.int32) % 10}
    hyper = {'rate': 0.01, 'weight_decay': 0.1, 'dropout': 0.5}

    def end(hyper):
        return train_fn(tuning.trial(c, hyper), 3)(jax.random.key(0), batch)[0].state.params
    plain, traced = jax.jit(lambda: end(hyper))(), jax.jit(end)({k: jnp.float32(v) for k, v in hyper.items()})
    for a, b in zip(jax.tree.leaves(plain), jax.tree.leaves(traced), strict=True):
        assert np.allclose(a, b, atol=1e-5)
    other = jax.jit(end)({**{k: jnp.float32(v) for k, v in hyper.items()}, 'dropout': jnp.float32(0.0)})
    assert not np.allclose(jax.tree.leaves(other)[-1], jax.tree.leaves(traced)[-1], atol=1e-5)


@pytest.mark.parametrize(('flag', 'said'), [
    ('--config.model=lenet', 'model=lenet: expected dnn for study=ablation'),
    ('--config.dropout=0.0', 'norm=batch, dropout=0.0: expected both')])
def test_an_ablation_of_nothing_is_refused(tmp_path, flag, said):
    assert said in finish(tmp_path, '--config=ablation', flag, code=2)


def test_the_rounds_of_a_search_follow_from_its_trials(tmp_path):
    assert 'steps=6: expected 5, the rounds of 40 trials by 8 workers' in finish(
        tmp_path, '--config=tuning', '--config.trials=40', code=2)


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(('study', 'seeds'), [('ablation', 5), ('tuning', 3)])
def test_the_studies_reach_what_is_expected(tmp_path, study, seeds):
    finish(tmp_path, f'--config={study}', f'--seeds={seeds}', timeout=1400)
    r = result(tmp_path)
    assert r['passed'] and r['expected'] == {k: list(v) for k, v in config_lib.STUDIES[study].items()}
    for name, (value, op) in r['expected'].items():
        values = r['metrics'][name]['values']
        assert len(values) == seeds and ((min(values) >= value) if op == '>=' else (max(values) <= value)), name
