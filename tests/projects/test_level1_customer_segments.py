"""The project as its users run it: what it leaves behind, no leaks from other customers or later days, killed and run
again; and the parts that decide."""
import functools
import signal
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from common import datasets, spread, strategies
from common.errors import DataError
from levels.level1_classical import study
from projects.level1_customer_segments import config as config_lib
from projects.level1_customer_segments import experiment, models, profiles, programs, rfm
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level1_customer_segments.main'
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('segments')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


@pytest.fixture(scope='module')
def customers():
    """(to learn from, to test on, the day of the cut)."""
    return rfm.split(datasets.load('cdnow'), 0.5)


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'profiles.md', *(f'{n}.safetensors' for n in models.NAMES),
                 *(f'plots/{n}.png' for n in ('choice', 'segments', 'profiles', 'compared', 'later', 'slices'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['verified'] and r['seeds'] == [0, 1] and r['day'] == 273 and r['segments'] == [3] * 6
    for name in models.NAMES:
        assert len(r['metrics'][f'gain_{name}']['values']) == 2 and r['metrics'][f'gain_{name}']['mean'] > 0.15
        assert r['comparison'][f'{name} - random']['high'] < 0
    assert abs(r['metrics']['gain_random']['mean']) < 0.01
    assert r['metrics']['gain_kmeans']['mean'] < r['metrics']['gain_regression']['mean']
    for column in ('purchases', 'days since the last', 'money spent', 'day of the first'):
        assert sum(s['count'] for s in r['slices'] if s['column'] == column) == 18_863, column
    rows = r['profile']
    for share in ('share', 'share_of_revenue', 'share_of_later_revenue'):
        assert abs(sum(row[share] for row in rows) - 1) < 1e-6
    assert [row['segment'] for row in rows] == [0, 1, 2] and len({row['name'] for row in rows}) == 3
    assert rows[0]['mean_later'] > rows[1]['mean_later'] > rows[2]['mean_later']
    assert all(row['name'] in (smoke / 'profiles.md').read_text() for row in rows)
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_a_killed_run_starts_again_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    while not (tmp_path / 'env.json').exists():
        time.sleep(0.05)
    processes.kill_after(process, 3, signal.SIGKILL)       # among imports, compiling, solving: wherever it is then
    assert not (tmp_path / 'result.json').exists()
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "split": "test", "gain_kmeans": 0.1}\n{"torn')
    finish(tmp_path, '--config=smoke', '--seeds=2')
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    for name in (*(f'{n}.safetensors' for n in models.NAMES), 'profiles.md'):
        assert (tmp_path / name).read_bytes() == (smoke / name).read_bytes()


@pytest.mark.parametrize('strategy', [strategies.pmap(spread.RULES, devices=4),
                                      strategies.mesh({'data': 4}, spread.RULES)], ids=['pmap', 'mesh'])
def test_devices_work_through_their_shares(strategy):
    """Ten problems that end at different times, over four devices."""
    def one(shared, problem):
        return jax.lax.while_loop(lambda v: v[0] < problem['to'], lambda v: (v[0] + 1, v[1] + shared), (0, 0.0))

    problems = {'to': np.arange(10)}
    count, total = spread.compile(strategy, study.in_turn(one), 2.0, problems)(2.0, problems)
    assert count.tolist() == list(range(10)) and total.tolist() == [2.0 * i for i in range(10)]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=4')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """Six problems over 2 and 4 devices: shares that do not come out even."""
    finish(tmp_path, '--config=smoke', '--seeds=2', *flags, timeout=850)
    ours, theirs = result(tmp_path), result(smoke)
    assert ours['segments'] == theirs['segments']
    for name, metric in theirs['metrics'].items():
        assert np.allclose(ours['metrics'][name]['values'], metric['values'], rtol=1e-3, atol=1e-5), name


def test_the_artefact_says_what_was_measured(smoke, tmp_path, customers):
    train, test, _ = customers
    assign, about = models.load(smoke / 'kmeans.safetensors')
    assert about['features'] == list(rfm.FEATURES) and about['profile'] == result(smoke)['profile']
    labels = np.asarray(assign(train.x))
    assert np.bincount(labels).tolist() == [row['customers'] for row in about['profile']]
    value = np.array([train.target[labels == s].mean() for s in range(3)])
    said = value[np.asarray(assign(test.x))]
    base = np.mean((test.target - train.target.mean()) ** 2)
    gain = 1 - np.mean((test.target - said) ** 2) / base
    assert abs(gain - result(smoke)['metrics']['test_gain_kmeans']['values'][0]) < 1e-3
    peer = make_pipeline(FunctionTransformer(np.log1p), StandardScaler(), KMeans(3, n_init=5, random_state=0))
    assert adjusted_rand_score(peer.fit_predict(train.x.astype(np.float64)), labels) > 0.95
    for damage in (b'', b'\x08' * 100, (smoke / 'kmeans.safetensors').read_bytes()[:-8]):
        (tmp_path / 'bad').write_bytes(damage)
        with pytest.raises(DataError, match='not a model of this project'):
            models.load(tmp_path / 'bad')


def test_nothing_of_held_out_customers_reaches_what_is_fitted_or_chosen(customers):
    """Other features and other later spending of theirs leave every fitted number, the silhouette, the stability and
    what is said of everyone else as they were, to the bit; of every model and baseline."""
    train, _, _ = customers
    x, y = train.x[:120], train.target[:120]
    c = SimpleNamespace(least=3, most=3, refits=2)
    seen = (np.arange(120) % 4 != 0).astype(np.float32)
    key = np.asarray(jax.random.key_data(jax.random.key(0)))
    both = lambda shared, mask: [one(shared, programs.Problems(key, mask))
                                 for one in (programs.chooser(c, 60), programs.comparer(3, 40))]
    run = jax.jit(both)
    spoiled = np.where(seen[:, None] > 0, x, np.float32(900)), np.where(seen > 0, y, np.float32(50))

    def known(shared, mask):
        (choice, fitted), (said, more) = jax.device_get(run(shared, mask))
        own = seen > 0
        return [choice.silhouette, choice.stability, choice.kmeans[:, own], choice.rule[:, own], fitted, more,
                {name: values[own] for name, values in said.items()}]

    same = lambda a, b: [np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)]
    assert all(same(known((x, y), seen), known(spoiled, seen)))
    caught = [same(a, b) for a, b in zip(known((x, y), np.ones_like(seen)), known(spoiled, np.ones_like(seen)))]
    assert not any(all(each) for each in caught[:4]), 'a fit on all customers would be caught'


def test_later_days_do_not_reach_the_features():
    bought = {'customer': np.array([1, 1, 1, 2, 2, 3, *range(10, 30)]),
              'day': np.array([0, 4, 12, 3, 3, 15, *[2] * 20]),
              'amount': np.array([5.0, 7.0, 100.0, 1.0, 2.0, 9.0, *[1.0] * 20], np.float32)}
    found = rfm.table(bought, 10, 20)
    assert found.number.tolist() == [1, 2, *range(10, 30)]              # 3 is not known on day 10
    assert found.x[:2].tolist() == [[6, 2, 12], [7, 2, 3]] and found.first[:2].tolist() == [0, 3]
    assert found.later[:3].tolist() == [100, 0, 0]
    moved = bought | {'amount': np.where(bought['day'] >= 10, 999, bought['amount']).astype(np.float32),
                      'day': np.where(bought['day'] >= 10, 19, bought['day'])}
    again = rfm.table(moved, 10, 20)
    assert np.array_equal(again.x, found.x) and again.later[0] == 999
    with pytest.raises(DataError, match='20 customers or more'):
        rfm.table({k: v[:6] for k, v in bought.items()}, 10, 20)


def test_the_number_of_segments():
    ks, silhouettes = np.array([3, 4, 5]), np.array([0.5, 0.4, 0.45])
    assert programs.choose(ks, silhouettes, np.array([0.9, 0.9, 0.9]), 0.8) == 3
    assert programs.choose(ks, silhouettes, np.array([0.7, 0.9, 0.9]), 0.8) == 5        # 3 is the best, but not stable
    assert programs.choose(ks, silhouettes, np.array([0.3, 0.6, 0.5]), 0.8) == 4        # none is: the most stable


def test_the_rule(customers):
    """Points by fifths and the sum in three parts, as numpy counts them; and on customers it has not seen."""
    train, test, _ = customers
    model = models.rule(3)
    state = jax.jit(model.fit)(jax.random.key(0), train.x, train.target)
    x = train.x.astype(np.float64)
    edges = np.quantile(x, [0.2, 0.4, 0.6, 0.8], axis=0, method='inverted_cdf')
    points = lambda x: np.sum([(4 - p if j == 0 else p) for j, p in enumerate(
        np.sum(x[:, j, None] > edges[None, :, j], 1) for j in range(3))], 0)
    cuts = np.quantile(points(x), [1 / 3, 2 / 3], method='inverted_cdf')
    for rows in (train.x, test.x):
        assert np.array_equal(model.predict(state, rows), np.sum(points(rows)[:, None] <= cuts[None], 1))


def test_top_share():
    later = np.array([10.0, 0, 0, 0, 0, 0, 0, 0, 0, 90.0])
    assert experiment.top_share(np.arange(10.0), later) == 0.9              # of ten customers the two ranked highest
    assert abs(experiment.top_share(np.zeros(10), later) - 0.2) < 1e-9      # no order: a fifth
    assert experiment.top_share(-np.arange(10.0), later) == 0.1


def test_names_follow_from_the_figures():
    row = lambda recency, frequency, money: {'recency': recency, 'frequency': frequency, 'money': money}
    days, money = [45.0, 180.0], [20.0, 60.0]
    made = profiles.names([row(10, 5, 300), row(100, 2, 40), row(250, 1, 10)], days, money)
    assert made == ['Active regular buyers, big spenders', 'Cooling repeat buyers, middling spenders',
                    'Quiet one-time buyers, small spenders']
    twice = profiles.names([row(200, 1, 10), row(250, 1, 15)], days, money)
    assert len(set(twice)) == 2 and all(name.startswith('Quiet one-time buyers') for name in twice)


def test_one_s_own_transactions(tmp_path):
    lines = [f'{i},2024-{1 + (i * 5 + j * 3) % 12:02d}-0{1 + j},{1 + j},{10 + i % 7 + j}'
             for i in range(200) for j in range(1 + i % 4)]
    (tmp_path / 'transactions.csv').write_text('\n'.join(['customer,date,items,amount', *lines]))
    train, test, cut = rfm.split(datasets.load('transactions', data_dir=tmp_path), 0.5)
    assert len(train.number) > 80 and len(test.number) > 20 and 150 < cut < 185
    assert not set(train.number) & set(test.number) and train.x[:, 0].max() <= cut


def test_wrong_commands(tmp_path):
    said = finish(tmp_path / 'a', '--config.data=transactions', f'--data_dir={tmp_path}', code=5)
    assert 'transactions.csv' in said
    assert 'sums nothing' in finish(tmp_path / 'b', '--config=smoke', '--reduction=ordered', code=2)
    assert 'most=3: expected at least least=5' in finish(tmp_path / 'c', '--config=smoke', '--config.least=5', code=2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=5', timeout=1700)
    r = result(tmp_path)
    assert r['passed'] and r['expected']
    for name, (value, _) in r['expected'].items():
        assert min(r['metrics'][name]['values']) >= value, name
    assert r['comparison']['kmeans - rule']['high'] < 0 and r['comparison']['kmeans - random']['high'] < 0


def test_expected_values_are_for_whole_recipes_only():
    full = config_lib.get_config()
    assert config_lib.expected(full) and not config_lib.expected(config_lib.get_config('smoke'))
