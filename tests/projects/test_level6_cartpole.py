"""The project as its users run it: what it leaves behind, under every strategy, killed, replayed, and solved."""
import functools
import json
import signal
import time

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image, ImageSequence

from common import plots
from common.runs import read_metrics
from projects.level6_cartpole import config as config_lib
from projects.level6_cartpole import draw, enjoy
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level6_cartpole.main'
finish = functools.partial(processes.finish, module=MODULE)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('smoke')
    finish(folder, '--config=smoke')
    return folder


@pytest.fixture(scope='module')
def two_seeds(tmp_path_factory):
    """Two seeds in one program, whose environments are split over a mesh of two devices."""
    folder = tmp_path_factory.mktemp('seeds')
    finish(folder, '--config=smoke', '--seeds=2', '--strategy=mesh', '--host_devices=2')
    return folder


def test_the_run_folder_holds_what_design_md_says(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'timing.jsonl', 'plots/curve.png',
                 'checkpoints/00000012/manifest.json'):
        assert (smoke / name).exists(), name
    r, c = result(smoke), config_lib.get_config('smoke')
    assert r['project'] == 'level6_cartpole' and r['data']['name'] == 'CartPole-v1' and 'gymnax' in r['data']['source']
    assert r['data']['train'] == c.steps * c.n_envs * c.horizon and r['expected'] == {} and r['passed']
    assert set(r['metrics']) == {'return', 'shortest', 'solved'} and r['iqm']['return']['over'] == 'seeds'
    assert 15 < r['baseline']['random policy'] < 30
    rows = read_metrics(smoke)
    assert [x['step'] for x in rows if x['split'] == 'train'] == [2, 4, 6, 8, 10, 12]
    assert [x['step'] for x in rows if x['split'] == 'test'] == [6, 12]
    timing = [json.loads(line) for line in (smoke / 'timing.jsonl').read_text().splitlines()]
    assert all(x['env_steps_per_s'] > x['rows_per_s'] > 0 for x in timing)


def test_the_gif_shows_an_episode(smoke):
    with Image.open(smoke / 'samples/episode.gif') as gif:
        frames = [np.asarray(frame.convert('L'), float) for frame in ImageSequence.Iterator(gif)]
    assert 5 <= len(frames) <= 125 and frames[0].std() > 5
    assert np.abs(frames[0] - frames[-1]).max() > 100, 'nothing moves'


def test_pmap_gives_the_same_numbers(smoke, tmp_path):
    finish(tmp_path, '--config=smoke', '--strategy=pmap', '--host_devices=2')
    assert_close(read_metrics(smoke), read_metrics(tmp_path), lambda x: x)


def test_seeds_on_a_mesh_give_the_same_numbers(smoke, two_seeds):
    assert_close(read_metrics(smoke), read_metrics(two_seeds), lambda x: x[0])
    r = result(two_seeds)
    assert r['seed_mode'] == 'vmap' and len(set(r['metrics']['return']['values'])) == 2
    assert r['metrics']['return']['ci95'][0] < r['metrics']['return']['mean'] < r['metrics']['return']['ci95'][1]
    low, high = r['iqm']['return']['ci95']
    assert low <= r['iqm']['return']['value'] <= high


def assert_close(one, other, pick):
    assert len(one) == len(other) == 8
    for a, b in zip(one, other):
        assert a.keys() == b.keys() and a['step'] == b['step']
        for name in a.keys() - {'split', 'step'}:
            assert abs(a[name] - pick(b[name])) <= 2e-3 * max(abs(a[name]), 0.1), (a['step'], name)


def test_killed_and_resumed_it_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', module=MODULE)
    processes.wait_for_step(tmp_path, 6)
    process.kill()
    process.communicate(timeout=60)
    finish(tmp_path, '--config=smoke')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


ON_TWO = {
    'pmap': ('--strategy=pmap', '--host_devices=2'),
    'pmap, two seeds in turn': ('--strategy=pmap', '--host_devices=2', '--seeds=2', '--seed_mode=turn'),
    'mesh, two seeds in one program': ('--strategy=mesh', '--host_devices=2', '--seeds=2'),
}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('flags', ON_TWO.values(), ids=ON_TWO)
def test_killed_twice_on_two_devices_and_resumed_it_ends_with_the_same_bits(flags, tmp_path):
    flags = ('--config=smoke', '--config.steps=60', *flags)
    finish(tmp_path / 'whole', *flags)
    for step in (10, 34):
        process = processes.start(tmp_path / 'killed', *flags, module=MODULE)
        processes.wait_for_step(tmp_path / 'killed', step)
        process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, 'it was over before it was killed'
    assert 'resumed at step' in finish(tmp_path / 'killed', *flags)
    assert processes.fingerprint(tmp_path / 'killed') == processes.fingerprint(tmp_path / 'whole')


@pytest.mark.parametrize(('flags', 'message'), [
    (('--reduction=ordered',), 'reduction: expected fast for an RL agent, found ordered'),
    (('--strategy=pmap', '--host_devices=2', '--seeds=2'), 'pmap cannot split'),
    (('--strategy=mesh', '--host_devices=2', '--config.n_envs=3'), 'does not divide over 2 devices')])
def test_what_the_readme_says_is_refused_is_refused(flags, message, tmp_path):
    out = finish(tmp_path, '--config=smoke', *flags, code=2)
    assert message in out.strip().splitlines()[-1] and 'Traceback' not in out


def test_enjoy_replays_a_checkpoint(smoke, two_seeds, tmp_path, capsys):
    assert enjoy.main([f'--workdir={two_seeds}', '--seed=1', '--every=10']) == 0
    out = capsys.readouterr().out
    assert '[=]' in out and 'after 12 training steps' in out and out.count('step ') >= 3
    assert enjoy.main([f'--workdir={smoke}', f'--gif={tmp_path / "a.gif"}']) == 0
    with Image.open(tmp_path / 'a.gif') as gif:
        assert gif.n_frames > 5
    assert enjoy.main([f'--workdir={smoke}', '--seed=1']) == 2
    assert '--seed=1: the run has 1 seed(s)' in capsys.readouterr().err
    assert enjoy.main([f'--workdir={tmp_path}']) == 2
    assert 'expected the folder of a run of projects.level6_cartpole' in capsys.readouterr().err


def test_the_curve_shows_every_seed_their_mean_and_its_interval(two_seeds):
    """What is drawn for the run of two seeds, against its metrics and Student's t of one degree of freedom."""
    rows = read_metrics(two_seeds)
    ax, = draw.learning_curve(rows, 256, {'solved': 475.0}, 'a title').axes
    tests = [r for r in rows if r['split'] == 'test']
    at, values = np.array([r['step'] * 256 for r in tests]), np.array([r['return'] for r in tests])
    assert values.shape == (2, 2) and np.ptp(values, axis=1).max() > 0
    *seeds, mean, training, solved = ax.lines
    assert [line.get_ydata().tolist() for line in seeds] == values.T.tolist()
    assert all(line.get_xdata().tolist() == at.tolist() for line in (*seeds, mean))
    assert np.allclose(mean.get_ydata(), values.mean(1)) and mean.get_linewidth() > 2 * seeds[0].get_linewidth()
    band, = ax.collections
    half = 12.7062047 * np.abs(values[:, 0] - values[:, 1]) / 2         # t at 97.5 % times the deviation over sqrt 2
    corners = band.get_paths()[0].vertices
    for x, middle, h in zip(at, values.mean(1), half):
        ys = corners[corners[:, 0] == x, 1]
        assert np.allclose([ys.min(), ys.max()], [middle - h, middle + h], rtol=1e-6), x
    assert np.allclose(band.get_facecolor()[0][:3], matplotlib.colors.to_rgb(plots.COLORS[0]))
    trained = [r for r in rows if r['split'] == 'train']
    known = [r for r in trained if not np.isnan(r['return']).all()]
    assert training.get_xdata().tolist() == [r['step'] * 256 for r in known]
    assert np.allclose(training.get_ydata(), [np.nanmean(r['return']) for r in known])
    assert solved.get_ydata()[0] == 475 and ax.get_title() == 'a title'
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        'evaluation, greedy: mean of 2 seeds', '95 % interval of the mean', 'training episodes, actions drawn']


def test_the_curve_of_one_seed_has_no_interval(smoke):
    ax, = draw.learning_curve(read_metrics(smoke), 256, {}, '').axes
    assert not ax.collections and 'interval' not in ax.get_legend().get_texts()[1].get_text()


def test_text_shows_cart_and_pole():
    for x, angle, sign in ((-2.0, -0.2, '\\'), (0.0, 0.0, '|'), (2.0, 0.2, '/')):
        *pole, track = draw.text(np.array([x, 0, angle, 0]), height=4).splitlines()
        at = track.index('=')
        assert len(track) == 61 and abs(at - 30 - x / 2.4 * 30) <= 1
        assert [line.strip() for line in pole] == [sign] * 4
        assert np.sign(pole[0].index(sign) - at) == np.sign(angle)


def test_a_rollout_that_does_not_divide_is_refused_before_jax_starts(tmp_path):
    began = time.time()
    out = finish(tmp_path, '--config=smoke', '--config.minibatches=5', code=2)
    assert 'minibatches=5: expected a divisor of horizon=32' in out and time.time() - began < 60


def test_expected_values_are_for_the_whole_recipe_only():
    full = config_lib.get_config()
    assert config_lib.expected(full) == {'solved': (0.9, '>='), 'return': (475.0, '>=')}
    with full.unlocked():
        full.steps = 50
    assert config_lib.expected(full) == config_lib.expected(config_lib.get_config('smoke')) == {}


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_nine_of_ten_seeds_solve_cartpole(tmp_path):
    finish(tmp_path, '--seeds=10', timeout=1400)
    r = result(tmp_path)
    values = np.array(r['metrics']['return']['values'])
    assert len(values) == 10 and (values >= 475).sum() >= 9 and r['passed'], values
    assert r['iqm']['return']['ci95'][0] >= 475 and r['baseline']['random policy'] < 30
