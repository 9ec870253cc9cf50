"""Cats against dogs: who learns from what, what is frozen, pairs that are pairs, the run as its users run it."""
import functools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import data, datasets, trees
from common.errors import ConfigError
from common.runs import read_metrics
from common.task import Carry, advance, start
from common.wrappers import with_transform
from projects.level3_cats_vs_dogs import config as config_lib
from projects.level3_cats_vs_dogs import experiment, models
from projects.level3_cats_vs_dogs import problem as problem_lib
from tests.common.picture_fixture import pets_builder
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level3_cats_vs_dogs.main'
KEY = jax.random.key(1)
finish = functools.partial(processes.finish, module=MODULE)


def config(**more):
    c = config_lib.get_config('smoke')
    with c.unlocked():
        c.update(more)
    config_lib.check(c)
    return c


@pytest.fixture(scope='module')
def animals():
    return datasets.load('animals')


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('cats_vs_dogs')
    finish(folder, '--config=smoke')
    return folder


def test_who_learns_from_what(animals):
    """The source task has no cats and dogs; sets are balanced, nested, of the seed's own draw, and never tested on."""
    c = config_lib.get_config()
    p = problem_lib.build(c, animals)
    names = [problem_lib.animals.NAMES[k] for k in animals.train['label'][p.source]]
    assert p.classes == 8 and not {'cat', 'dog'} & set(names) and len(set(names)) == 8
    pairs = set(zip(names, p.pictures['label'][p.source].tolist()))
    assert len(pairs) == 8 and {k for _, k in pairs} == set(range(8))
    of_test = {x.tobytes() for x in p.test['image']}
    assert {problem_lib.animals.NAMES[k] for k in animals.test['label'][np.isin(animals.test['label'], (2, 4))]} == {
        'cat', 'dog'} and len(p.test['label']) == np.isin(animals.test['label'], (2, 4)).sum()
    for seed in (0, 1):
        for n in c.sizes:
            rows = problem_lib.chosen(p, seed, n)
            kinds = [problem_lib.animals.NAMES[k] for k in animals.train['label'][rows]]
            assert len(set(rows)) == n and kinds[::2] == ['cat'] * (n // 2) and kinds[1::2] == ['dog'] * (n // 2)
            assert p.pictures['label'][rows].tolist() == [0, 1] * (n // 2)
            assert (rows == problem_lib.chosen(p, seed, 1000)[:n]).all() and not of_test & {
                x.tobytes() for x in p.pictures['image'][rows]}
    assert (problem_lib.chosen(p, 0, 50) != problem_lib.chosen(p, 1, 50)).any()
    c.sizes = (20, 4000)
    with pytest.raises(ConfigError, match='sizes: expected at most 15'):
        problem_lib.build(c, animals)


def test_what_a_step_sees(animals):
    """Source rows first; then each set in turn, every picture of it once before any comes again, also below a batch."""
    c = config(source_steps=4, steps=24, sizes=(6, 40))
    p = problem_lib.build(c, animals)
    source = problem_lib.source(c, p, 0)
    for step in range(24):
        b = source(step)
        kind = -1 if step < 4 else (step - 4) // 10
        assert (b['size'] == kind).all() and (b['first'] == (step in (4, 14))).all()
        rows = p.source if kind < 0 else problem_lib.chosen(p, 0, c.sizes[kind])
        known = {x.tobytes(): y for x, y in zip(p.pictures['image'][rows], p.pictures['label'][rows])}
        assert all(known[x.tobytes()] == y for x, y in zip(b['image'], b['label']))
    for n in (6, 40):
        seen = np.concatenate([problem_lib.drawn(n, step, 16, 0) for step in range(15)])
        whole = seen[:len(seen) // n * n].reshape(-1, n)
        assert (np.sort(whole, 1) == np.arange(n)).all() and (whole[0] != whole[1]).any()


@pytest.fixture(scope='module')
def trained(animals):
    """(config, problem, source, states after the source task and at the end); no augmentation."""
    c = config(augment=False, source_steps=4, steps=10, sizes=(8, 16))
    p = problem_lib.build(c, animals)
    source = problem_lib.source(c, p, 0)
    task, (whole, batch) = models.build(c, p.classes), data.whole(source, 10)

    @jax.jit
    def after(steps, whole):
        carry = start(task, KEY, batch(whole, 0))
        return jax.lax.fori_loop(0, steps, lambda i, carry: advance(task, carry, batch(whole, i))[0], carry).state

    return c, p, source, jax.device_get(after(4, whole)), jax.device_get(after(10, whole))


def same(a, b, pattern=''):
    """Whether all leaves are equal in every bit, of those whose path begins so."""
    a, b = trees.named_leaves(a), trees.named_leaves(b)
    paths = [k for k in a if k.startswith(pattern)]
    assert a.keys() == b.keys() and paths
    return all(np.asarray(a[k]).tobytes() == np.asarray(b[k]).tobytes() for k in paths)


def test_what_is_frozen_stays_and_the_rest_learns(trained):
    """Once it is trained the source network rests; a probe keeps its body and running statistics, bit for bit."""
    _, _, _, before, after = trained
    assert same(before.source, after.source)
    body = lambda params: {k: v for k, v in params.items() if k != 'head'}
    for i in range(2):
        fit = lambda name, i=i: jax.tree.map(lambda x: x[i], after.arms[name])
        assert same(body(fit('probe').params), body(before.source.params))
        assert same(fit('probe').extra, before.source.extra)
        for name in ('finetune', 'scratch'):
            moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), body(fit(name).params), body(before.source.params))
            assert min(moved['stem_conv'].values()) > 0 and not same(fit(name).extra, before.source.extra)
        assert not [k for k in trees.named_leaves(fit('probe').opt) if 'stage' in k or 'stem' in k]
        far = {name: np.abs(fit(name).params['stem_conv']['kernel'] - before.source.params['stem_conv']['kernel']).max()
               for name in ('finetune', 'scratch')}
        assert far['finetune'] < 0.1 * far['scratch'], 'fine-tuning began elsewhere or ran away'


def test_an_arm_is_what_it_would_be_alone(trained):
    """The second size from scratch, by itself: the same pictures, the same keys, the same numbers."""
    c, _, source, _, after = trained
    alone = with_transform(models.arm(c, 'scratch', None), models.scaled)
    init_key, key = jax.random.split(KEY)
    own = jax.random.split(jax.random.split(init_key)[1], 2)[1]
    step, state = jax.jit(alone.step), alone.init(own, source(7))
    for i in (7, 8, 9):
        state, _ = step(jax.random.fold_in(key, i), state, source(i))
    for (path, a), b in zip(trees.named_leaves(state.params).items(), jax.tree.leaves(jax.tree.map(
            lambda x: x[1], after.arms['scratch'].params)), strict=True):
        assert np.abs(np.asarray(a) - b).max() < 1e-4, path


def test_turns():
    """Row i shows i quarter turns, and says so; also to the network, through the whole task."""
    images = np.random.RandomState(0).randint(0, 256, (9, 6, 6, 3)).astype(np.uint8)
    out = models.turned({'image': jnp.asarray(images), 'label': jnp.zeros(9, jnp.int32)})
    assert out['label'].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    for i in range(9):
        np.testing.assert_array_equal(out['image'][i], np.rot90(images[i], i % 4))


def test_accuracies_are_those_of_the_stacked_networks(trained):
    c, p, _, _, after = trained
    found = experiment.scorer(c, p)(Carry(np.zeros((), np.int32), KEY, after))
    assert set(found) == {'source_accuracy', *(f'{a}_{n}' for a in models.ARMS for n in (8, 16))}
    fit = jax.tree.map(lambda x: x[1], after.arms['finetune'])
    said = models.network(c, 2).apply({'params': fit.params, **fit.extra}, p.test['image'] / np.float32(255))
    assert found['finetune_16'] == pytest.approx((np.asarray(said).argmax(1) == p.test['label']).mean(), abs=1e-6)
    said = models.network(c, 8).apply({'params': after.source.params, **after.source.extra},
                                      p.source_test['image'] / np.float32(255))
    assert found['source_accuracy'] == pytest.approx((np.asarray(said).argmax(1) == p.source_test['label']).mean(),
                                                     abs=1e-6)


def test_the_run_folder(smoke):
    sheets = [f'{kind}_{n}' for kind in ('confusion', 'mistakes') for n in (8, 16)]
    for name in ('learning_curves', 'training', *sheets):
        assert (smoke / f'plots/{name}.png').stat().st_size > 5000, name
    r = result(smoke)
    assert r['project'] == 'level3_cats_vs_dogs' and r['data']['name'] == 'animals' and r['data']['verified']
    m = r['metrics']
    assert set(m) == {'source_accuracy', *(f'{a}_{n}' for a in models.ARMS for n in (8, 16)),
                      *(f'{a}_gain{n}' for a in models.ARMS[1:] for n in ('', '_8', '_16'))}
    for n in (8, 16):
        pairs = np.subtract(m[f'finetune_{n}']['values'], m[f'scratch_{n}']['values'])
        assert np.allclose(m[f'finetune_gain_{n}']['values'], pairs)
        assert {f'logistic regression, {n} pictures', f'RBF SVM, {n} pictures'} <= set(r['baseline'])
    assert not r['expected'] and [x['step'] for x in read_metrics(smoke) if x['split'] == 'test'] == [8, 16]
    assert 'is finished' in finish(smoke, '--config=smoke')


def test_killed_and_resumed_it_ends_with_the_same_bits(smoke, tmp_path):
    """Killed in the midst of the sets of cats and dogs."""
    process = processes.start(tmp_path, '--config=smoke', module=MODULE)
    processes.wait_for_step(tmp_path, 12)
    processes.kill_after(process, 0, signal.SIGKILL)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, '--config=smoke')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


@pytest.mark.slow
def test_photographs_in_the_form_of_tfds(tmp_path):
    """The recipe of the real set, on a set of its form, at its smallest."""
    pets_builder(tmp_path, 40).download_and_prepare()
    finish(tmp_path / 'run', '--config=smoke', '--config.data=cats_vs_dogs', '--config.pretext=turns',
           f'--data_dir={tmp_path}')
    r = result(tmp_path / 'run')
    assert (r['data']['train'], r['data']['test'], r['data']['verified']) == (32, 8, False)
    assert r['pictures'] == {'source': 32, 'test': 8} and 0 <= r['metrics']['source_accuracy']['mean'] <= 1


@pytest.mark.slow
@pytest.mark.parametrize('flags', [('--strategy=mesh', '--host_devices=2'), ('--strategy=pmap', '--host_devices=2'),
                                   ('--seed_mode=vmap', '--seeds=2')])
def test_other_ways_to_run_give_the_same_numbers(smoke, tmp_path, flags):
    finish(tmp_path, '--config=smoke', *flags)
    train = lambda folder: [r for r in read_metrics(folder) if r['split'] == 'train']
    for a, b in zip(train(smoke), train(tmp_path), strict=True):
        assert abs(np.mean(np.atleast_1d(b['loss'])[0]) - a['loss']) < 2e-2 * a['loss']


def test_what_is_expected_and_what_is_refused():
    full = config_lib.get_config()
    config_lib.check(full)
    config_lib.check(config_lib.get_config('photographs'))
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
    for change, says in (({'steps': 17}, 'steps=17: expected source_steps=8'), ({'sizes': (8, 9)}, 'sizes='),
                         ({'sizes': (16, 8)}, 'ascending'), ({'data': 'cats_vs_dogs'}, 'pretext=kinds')):
        with pytest.raises(ValueError, match=says):
            config(**change)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    """Each seed on the right side; fine-tuning wins, by an interval above 0 of the mean over all sizes."""
    finish(tmp_path, '--seeds=3', timeout=2300)
    r = result(tmp_path)
    assert r['passed'] and r['expected']
    for name, (value, side) in r['expected'].items():
        values = r['metrics'][name]['values']
        assert side == '>=' and len(values) == 3 and min(values) >= value, (name, values)
    assert r['metrics']['finetune_gain']['ci95'][0] > 0
    assert r['metrics']['finetune_20']['mean'] > r['baseline']['logistic regression, 20 pictures']
