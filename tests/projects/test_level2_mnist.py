"""The project as its users run it: what it leaves behind, under every strategy, and what it is expected to reach."""

import numpy as np
import pytest

from common.runs import read_metrics
from projects.level2_mnist import config as config_lib
from tests.faults.processes import ROOT, finish, result

SMOKE = ('--config=smoke', '--config.baseline_rows=0')


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
@pytest.mark.parametrize(('size', 'seeds'), [('full', 5), ('mlp', 5), ('original', 3)])
def test_every_recipe_reaches_what_is_expected(tmp_path, size, seeds):
    finish(tmp_path, f'--config={size}', f'--seeds={seeds}', timeout=1400)
    assert_expected(tmp_path, seeds)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_lenet_on_full_mnist(tmp_path, shared_file):
    finish(tmp_path, '--config=full_mnist', f'--data_dir={shared_file("mnist.npz").parent}', timeout=1400)
    assert_expected(tmp_path, 1)
    assert result(tmp_path)['metrics']['accuracy']['mean'] >= 0.99


def test_expected_values_are_for_the_whole_recipe_only():
    assert config_lib.expected(config_lib.get_config('full')) == {'accuracy': (0.97, '>=')}
    assert config_lib.expected(config_lib.get_config('mlp'))['accuracy'][0] >= 0.945
    assert config_lib.expected(config_lib.get_config('smoke')) == {}
    assert ROOT.joinpath('projects/level2_mnist/README.md').exists()
