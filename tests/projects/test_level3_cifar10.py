"""CIFAR-10 as its users run it: what it leaves, killed and resumed, the race, the recipe, what it must reach."""
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.args import parse
from common.config import validate
from common.runs import read_metrics
from common.task import Carry, train_fn
from projects.level3_cifar10 import config as config_lib
from projects.level3_cifar10 import draw, experiment, models, race
from projects.level3_cifar10.watch import Watch, passing
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level3_cifar10.main'
SMOKE = ('--config=smoke', '--config.baseline_rows=0')
KEY = jax.random.key(1)
STATS = ((120.0, 110.0, 100.0), (60.0, 50.0, 40.0))
finish = functools.partial(processes.finish, module=MODULE)


def config(**more):
    c = config_lib.get_config('smoke')
    with c.unlocked():
        c.update(more)
    return c


def pictures(rows=8):
    rng = np.random.default_rng(0)
    return {'image': rng.integers(0, 256, (rows, 32, 32, 3)).astype(np.uint8),
            'label': (np.arange(rows) % 10).astype(np.int32)}


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('smoke')
    finish(folder, '--config=smoke')
    return folder


def test_the_run_folder(smoke):
    for name in ('time', 'curves', 'confusion', 'mistakes', 'augmented'):
        assert (smoke / f'plots/{name}.png').stat().st_size > 5000, name
    r = result(smoke)
    assert r['project'] == 'level3_cifar10' and r['data']['name'] == 'photo_patches' and r['data']['verified']
    assert (r['data']['train'], r['data']['test']) == (10_000, 2_000)
    assert 0 < r['metrics']['accuracy']['mean'] < 1 and not r['expected']
    assert set(r['baseline']) == {'logistic regression', 'random forest'} and min(r['baseline'].values()) > 0.2
    assert [x['step'] for x in read_metrics(smoke) if x['split'] == 'test'] == [6, 12]


def test_the_goal_is_timed(smoke):
    """The curve is what metrics.jsonl says, with CPU seconds that grow; the goal's passing is its first row above."""
    r = result(smoke)
    curve = r['curves']['resnet9']['0']
    rows = [x for x in read_metrics(smoke) if x['split'] == 'test']
    assert [step for step, _, _ in curve] == [6, 12] and 0 < curve[0][1] < curve[1][1]
    assert [value for _, _, value in curve] == pytest.approx([x['accuracy'] for x in rows])
    found = r['goal']['networks']['resnet9']['0']
    assert found['first'] == passing(curve, 0.05) and found['cpu_seconds'] == curve[-1][1]


def test_a_second_start_changes_nothing_and_another_goal_is_harmless(smoke):
    before = (smoke / 'result.json').read_bytes()
    assert 'is finished' in finish(smoke, '--config=smoke', '--config.goal=0.5')
    assert (smoke / 'result.json').read_bytes() == before


def test_passing():
    curve = [[10, 1.5, 0.2], [20, 3.0, 0.6], [30, 4.5, 0.5]]
    assert passing(curve, 0.6) == {'step': 20, 'cpu_seconds': 3.0} and passing(curve, 0.7) is None


@pytest.mark.slow
@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=4')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """Augmentation is keyed by the row of the whole batch, batch norm sees all of it."""
    finish(tmp_path, *SMOKE, *flags)
    for a, b in zip(read_metrics(smoke), read_metrics(tmp_path), strict=True):
        assert a.keys() == b.keys() and abs(a['loss'] - b['loss']) < 1e-3 * a['loss']


def test_a_killed_run_resumes_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, *SMOKE, module=MODULE)
    processes.wait_for_step(tmp_path, 6)
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, *SMOKE)
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    assert [step for step, _, _ in result(tmp_path)['curves']['resnet9']['0']] == [6, 12]


def test_the_steps_of_a_race_are_measured_once(tmp_path, monkeypatch):
    """Twelve calls of four steps, each 0.5 CPU seconds, the first with half a minute of something else."""
    now, fits = [100.0], []

    def fit(task, source, *, steps, key, strategy, steps_per_call, hooks):
        fits.append(steps)
        now[0] += 30.0
        for _ in range(steps // steps_per_call):
            now[0] += 0.5
            hooks[0].fn(0, None)

    monkeypatch.setattr(race.loop, 'fit', fit)
    monkeypatch.setattr(race.time, 'process_time', lambda: now[0])
    c = config(race=10.0, steps_per_call=4, batch_size=8)
    run = type('Run', (), {'config': c, 'dir': tmp_path, 'args': parse('projects.level3_cifar10', ['--workdir=x'])})
    assert race._steps(run, 'lenet', pictures(), STATS) == 80 == race._steps(run, 'lenet', pictures(), STATS)
    assert fits == [48] and json.loads((tmp_path / 'race.json').read_text()) == {'lenet': 80}
    c.race = 0.1                                                            # another network, too short a time
    assert race._steps(run, 'resnet9', pictures(), STATS) == 4


RACE = (*SMOKE, '--config.race=0.3', '--config.racers=("lenet", "resnet9")', '--seeds=2')


@pytest.fixture(scope='module')
def raced(tmp_path_factory):
    folder = tmp_path_factory.mktemp('race')
    finish(folder, *RACE)
    return folder


@pytest.mark.slow
def test_the_race(raced):
    """Each network takes the steps that were found to fit; results are those of its last evaluation."""
    r, steps = result(raced), json.loads((raced / 'race.json').read_text())
    assert list(steps) == ['lenet', 'resnet9'] and min(steps.values()) >= 2
    for name, of_seed in r['curves'].items():
        assert list(of_seed) == ['0', '1']
        for curve in of_seed.values():
            assert curve[-1][0] == steps[name] and np.all(np.diff([seconds for _, seconds, _ in curve]) > 0)
        assert r['metrics'][f'accuracy_{name}']['values'] == [curve[-1][2] for curve in of_seed.values()]
    assert (raced / 'plots/time.png').stat().st_size > 5000 and not r['expected']


@pytest.mark.slow
def test_a_race_that_was_stopped_goes_on_with_the_same_steps(tmp_path):
    """Another machine's numbers of steps are given: they are kept, and two runs of them have equal bits."""
    for name in ('a', 'b'):
        folder = tmp_path / name
        folder.mkdir()
        (folder / 'race.json').write_text(json.dumps({'lenet': 8, 'resnet9': 4}))
        process = processes.start(folder, *RACE, module=MODULE)
        if name == 'b':
            processes.wait_for_step(folder, 2)
            process.kill()
            process.communicate(timeout=60)
            finish(folder, *RACE)
        else:
            assert process.wait(timeout=300) == 0
    assert json.loads((tmp_path / 'b/race.json').read_text()) == {'lenet': 8, 'resnet9': 4}
    a, b = (result(tmp_path / name) for name in ('a', 'b'))
    assert a['state_sha256'] == b['state_sha256'] and a['metrics'] == b['metrics']
    assert [step for step, _, _ in b['curves']['lenet']['1']] == [step for step, _, _ in a['curves']['lenet']['1']]


def test_the_race_is_of_one_process(monkeypatch):
    monkeypatch.setattr(race.jax, 'process_count', lambda: 2)
    with pytest.raises(race.UsageError, match='race: expected one process'):
        race.compete(type('Run', (), {'config': config(), 'args': None}), None, None, STATS)


def test_seconds_go_on_where_a_resumed_run_begins(tmp_path):
    """A run that was killed at step 30 and had been looked at at 20 has the seconds of 30."""
    class Run:
        dir = tmp_path

        def timing(self, step, **values):
            with (tmp_path / 'timing.jsonl').open('a') as file:
                file.write(json.dumps({'step': step, **values}) + '\n')

    for step, seconds in ((10, 2.0), (20, 4.0), (40, 8.0)):
        Run().timing(step, network='lenet', seeds=[3], accuracy=[0.1], cpu_seconds=seconds)
    watch = Watch(Run())
    watch.expect('lenet', 3)
    watch.go(30)
    assert watch.seconds == 6.0
    carry = type('Carry', (), {'step': 40})
    watch.look(lambda carry: {'accuracy': 0.5})(carry)
    assert [row[0] for row in watch.curve('lenet', 3)] == [10, 20, 40] and watch.curve('lenet', 3)[-1][2] == 0.5
    assert 6.0 <= watch.curve('lenet', 3)[-1][1] < 7.0
    watch.expect('lenet', 4)
    watch.go(0)
    assert watch.seconds == 0.0 and watch.curve('lenet', 4) == []


def test_resnet9_is_eight_convolutions_and_a_linear_layer():
    model = models.ResNet9(width=2)
    x = jnp.asarray(pictures(4)['image'], jnp.float32)
    variables = model.init(KEY, x)
    kernels = [v.shape for v in jax.tree.leaves(variables['params']) if v.ndim > 1]
    assert len(kernels) == 9 and sum(s[:2] == (3, 3) for s in kernels) == 8
    big = jax.eval_shape(lambda: models.ResNet9(width=64).init(KEY, x))['params']
    assert sum(v.size for v in jax.tree.leaves(big)) == 6_573_120
    out, _ = model.apply(variables, x, train=True, mutable=['batch_stats'])
    assert out.shape == (4, 10) and jnp.isfinite(out).all()


def test_an_image_and_its_mirror_image_get_the_same_logits():
    x = jnp.asarray(pictures(3)['image'], jnp.float32) / 255
    for flips, same in ((True, True), (False, False)):
        model = models.network(config(test_flip=flips), 'resnet9')
        variables = model.init(KEY, x)
        gap = jnp.abs(model.apply(variables, x) - model.apply(variables, jnp.flip(x, 2))).max()
        assert (gap < 1e-6) == same
    plain = models.Mirrored(models.ResNet9(width=2))
    variables = plain.init(KEY, x)
    trained = lambda x: plain.apply(variables, x, train=True, mutable=['batch_stats'])[0]
    assert jnp.abs(trained(x) - trained(jnp.flip(x, 2))).max() > 1e-6        # training sees the image as it is


def test_training_images_are_shifted_mirrored_and_cut():
    """In the order of `chain`: what is cut off or out is the mean colour, 0."""
    fn = models.augmentation(config(crop=4, flip=True, cutout=8))
    image = 1 + jax.random.uniform(KEY, (32, 32, 3))
    out = jax.vmap(fn, (0, None))(jax.random.split(KEY, 64), image)
    zero = np.asarray((out == 0).all(-1))
    assert out.shape == (64, 32, 32, 3) and (zero.sum((1, 2)) >= 64).mean() > 0.9 and zero.sum((1, 2)).max() < 400
    assert not jnp.array_equal(out[0], out[1])
    only = models.augmentation(config(crop=0, flip=True, cutout=0))
    seen = {bool(jnp.array_equal(only(k, image), jnp.flip(image, 1))) for k in jax.random.split(KEY, 20)}
    assert seen == {True, False}
    assert models.augmentation(config(crop=0, flip=False, cutout=0)) is None


def test_scaled_images_have_mean_0_and_deviation_1():
    batch = pictures(16)
    stats = experiment.pixels(batch['image'])
    x = np.asarray(models.scaled(*stats, batch)['image'], np.float64)
    assert np.abs(x.mean((0, 1, 2))).max() < 1e-4 and np.abs(x.std((0, 1, 2)) - 1).max() < 1e-4


def test_the_rate_climbs_and_falls_in_straight_lines():
    rate = models.one_cycle(0.4, 0.25, 100)
    values = np.array([float(rate(jnp.asarray(step))) for step in (0, 25, 50, 75, 100)])
    assert values == pytest.approx([0.02, 0.4, 0.4 - 0.396 / 3, 0.4 - 2 * 0.396 / 3, 0.004])


def test_kernels_alone_decay():
    """A step with decay and one without differ by rate times decay times the kernel, and by nothing in a bias."""
    c = config(weight_decay=10.0, rate=1e-3)
    batch = pictures(8)
    task = models.build(c, 'lenet', 4, *STATS)
    free = models.build(config(weight_decay=0.0, rate=1e-3), 'lenet', 4, *STATS)
    start = task.init(KEY, batch)
    start = start._replace(params=jax.tree.map(lambda x: x + 0.1, start.params))     # biases begin at 0, and would stay
    step = lambda task: jax.jit(task.step)(KEY, start, batch)[0].params['inner']['c3']
    decayed, plain, begun = step(task), step(free), start.params['inner']['c3']
    assert jnp.abs(decayed['bias'] - plain['bias']).max() < 1e-8 and jnp.abs(plain['bias'] - begun['bias']).max() > 1e-6
    gap = plain['kernel'] - decayed['kernel']
    assert jnp.abs(gap - 0.05e-3 * 10.0 * begun['kernel']).max() < 1e-7 and jnp.abs(gap).max() > 1e-5


@pytest.mark.parametrize('name', [pytest.param(n, marks=pytest.mark.slow if n != 'resnet9' else ())
                                  for n in models.NETWORKS])
def test_every_network_learns_a_few_pictures(name):
    c, batch = config(width=4, crop=0, flip=False, cutout=0, smoothing=0.0, weight_decay=0.0), pictures(16)
    task = models.build(c, name, 30, *STATS)
    _, seen = jax.jit(train_fn(task, 30))(KEY, batch)
    loss = seen['loss'].value
    assert jnp.isfinite(loss).all() and loss[-1] < 0.7 * loss[0], (name, loss[0], loss[-1])


def test_scores_are_those_of_the_evaluation():
    c, test = config(width=2), pictures(7)
    task = models.build(c, 'resnet9', 3, *STATS)
    state = task.init(KEY, test)
    state = state._replace(extra=jax.tree.map(lambda x: x + 0.1, state.extra))      # running statistics count
    carry = Carry(jnp.zeros((), jnp.int32), KEY, state)
    p = draw.scores(c, state, test, STATS)
    assert p.shape == (7, 10) and np.abs(p.sum(1) - 1).max() < 1e-5
    seen = experiment.evaluator(task, test, batch_size=4)(carry)
    assert seen['accuracy'] == pytest.approx((p.argmax(1) == test['label']).mean())
    assert seen['loss'] == pytest.approx(-np.log(p[np.arange(7), test['label']]).mean(), rel=1e-4)


def test_what_is_expected_is_for_the_whole_recipe_only():
    for size in ('full', 'subset'):
        assert config_lib.expected(config_lib.get_config(size))['accuracy'][0] >= 0.62
    for size in ('smoke', 'race', 'cifar10'):
        assert not config_lib.expected(config_lib.get_config(size))
    for size in config_lib.VARIANTS:
        validate(config_lib.get_config(size), config_lib.FIELDS, config_lib.check)
    full = config_lib.get_config()
    with full.unlocked():
        full.crop = 2
    assert not config_lib.expected(full)
    for change, message in (({'racers': ()}, 'racers'), ({'racers': ('lenet', 'lenet')}, 'each once'),
                            ({'race': 1.0, 'batch_size': 1}, 'batch_size=1: expected 2')):
        with pytest.raises(ValueError, match=message):
            config_lib.check(config(**change))


def test_data_that_is_missing_is_said_by_name(tmp_path):
    for name, says in (('cifar10_subset', 'put images of CIFAR-10'), ('cifar10', 'tools.prepare_data --name=cifar10')):
        out = finish(tmp_path / name, *SMOKE, f'--config.data={name}', f'--data_dir={tmp_path}', code=5)
        assert str(tmp_path / f'{name}.npz') in out and says in out and 'Traceback' not in out


def assert_expected(folder, seeds):
    r = result(folder)
    (value, _), = r['expected'].values()
    assert r['passed'] and len(r['metrics']['accuracy']['values']) == seeds
    assert min(r['metrics']['accuracy']['values']) >= value, r['metrics']
    return r


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=3', timeout=1400)
    r = assert_expected(tmp_path, 3)
    assert r['metrics']['accuracy']['mean'] > max(r['baseline'].values()) + 0.02


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_subset_of_cifar10_within_fifteen_minutes_of_one_core(tmp_path, shared_file):
    finish(tmp_path, '--config=subset', f'--data_dir={shared_file("cifar10_subset.npz").parent}', timeout=2300)
    r = assert_expected(tmp_path, 1)
    assert r['metrics']['accuracy']['mean'] > max(r['baseline'].values()) + 0.1
    found = r['goal']['networks']['resnet9']['0']
    assert found['cpu_seconds'] < 900 and found['first']['step'] <= 1560


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_race_over_equal_time(tmp_path):
    """Every network gets about the seconds that it was promised, and learns in them.

    The steps are fixed by a trial before the race. These are CPU seconds of the process, yet a step's still depend on
    what else is on the cores and in the caches: on busy machines 0.70 to 1.27 of what was promised were seen, in one
    race 1.7 times as many for one network as for another. So no ratio of 2 is asserted, which would fail now and then;
    0.6 to 1.5 of what was promised is.
    """
    finish(tmp_path, '--config=race', '--config.race=20', '--config.baseline_rows=0', timeout=1400)
    found = {name: of_seed['0'] for name, of_seed in result(tmp_path)['goal']['networks'].items()}
    assert set(found) == {'lenet', 'resnet9', 'mobilenet'}
    for name, seen in found.items():
        assert 12 < seen['cpu_seconds'] < 30 and seen['accuracy'] > 0.3, (name, seen)
