"""The rows of level 1: every estimator has one, both sides find the same, and worse answers are told from good ones."""
import os
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from common.errors import UsageError
from levels.catalogue import members
from tools import bench
from tools.bench import classical, pairs, peers, workloads
from tools.bench.classical import data, quality, sides, table

SMALL = {'rows': 600, 'queries': 200, 'features': 8, 'clusters': 4, 'components': 4}
TARGETS = {'kmeans': 1.8, 'nearest': 1.8, 'pca': 0.95, 'lasso': 1.4, 'ridge': 0.85, 'logistic': 0.9, 'gaussian_nb': 1.8,
           'gaussian_nb_predict': 9, 'linear_svc': 4, 'svc': 1.1, 'random_forest_classifier': 2.3,
           'gradient_boosting_regressor': 0.35, 'mean_shift': 20, 'spectral_clustering': 5, 'tsne': 0.8, 'umap': 2.5,
           'ward': 1.0, 'ridge_path': 20}


def test_every_estimator_has_a_row_and_every_target_is_there():
    mine = {m.name for m in members(kind='estimator', level=1)}
    assert mine <= {row.path.rpartition('.')[2] for row in table.ROWS}
    assert {row.name: row.others[0].target for row in table.ROWS if row.others[0].target} == TARGETS
    boosting = classical.row('gradient_boosting_regressor').others[0]
    assert (boosting.library, boosting.target, boosting.one) == ('lightgbm', 0.35, 0.6)
    sizes = {name: classical.row(name).sizes for name in TARGETS}
    assert sizes['ridge'] == {'rows': 100_000, 'features': 100} and sizes['pca']['rows'] == 60_000
    assert sizes['kmeans'] == {'rows': 200_000, 'features': 32, 'clusters': 64} and sizes['pca']['features'] == 784
    assert sizes['gradient_boosting_regressor'] == {'rows': 100_000, 'features': 50}


def test_each_row_makes_a_pair_and_one_of_a_tenth():
    names = workloads.groups()['classical']
    assert len(names) == 2 * len(table.ROWS) == len(set(names))
    small = workloads.pair('nearest_tenth')
    assert (small.sizes['rows'], small.sizes['queries'], small.sizes['features']) == (5000, 1000, 64)
    assert classical.row('nearest_tenth') is classical.row('nearest')
    assert bench.parse(['--peer', '--only=classical']).only == names
    assert bench.parse(['--only=ridge']).only == ['ridge']
    assert 'classical' in workloads.shown() and 'ridge' not in workloads.shown()


def both(row, sizes):
    """(data, our side, the peer's) of a row at other sizes, each having run once."""
    d = data.made(row.data, {k: min(v, sizes.get(k, v)) for k, v in row.sizes.items()})
    found = sides.Ours(row, d), sides.Theirs(row, row.others[0], d, 1, row.others[0].choices[0])
    for side in found:
        side.run(1)
    return d, *found


EXACT = [r.name for r in table.ROWS if r.quality.name in (
    'least_squares', 'elastic', 'swept', 'path', 'logistic_loss', 'hinge', 'log_loss', 'inertia', 'distance', 'heights',
    'agreement', 'agreement_r2', 'rand') and not r.name.startswith(('gradient', 'minibatch', 'spectral', 'mean_shift'))]


@pytest.mark.parametrize('name', EXACT)
def test_both_sides_solve_the_same_problem(name):
    """Where the answer is unique both reach it: the bench compares like with like."""
    row = classical.row(name)
    d, mine, theirs = both(row, SMALL)
    a, b = (quality.judged(row, d, side)[row.quality.name] for side in (mine, theirs))
    assert a == pytest.approx(b, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize('name', ['sgd_regressor', 'decision_tree_classifier', 'random_forest_regressor', 'svc', 'pca',
                                  'minibatch_kmeans', 'spectral_clustering', 'mean_shift', 'incremental_pca'])
def test_both_sides_of_the_other_rows_run(name):
    row = classical.row(name)
    d, mine, theirs = both(row, {**SMALL, 'rows': 1500})
    a, b = (quality.judged(row, d, side)[row.quality.name] for side in (mine, theirs))
    assert np.isfinite([a, b]).all() and abs(a - b) <= 0.1 * max(abs(a), abs(b))


def test_worse_answers_have_a_worse_quality():
    row = classical.row('ridge')
    d, mine, _ = both(row, SMALL)
    good = quality.judged(row, d, mine)['least_squares']
    mine.result = mine.result._replace(coef=mine.result.coef * 1.05)
    assert quality.judged(row, d, mine)['least_squares'] > good + row.quality.margin
    points = SimpleNamespace(read=lambda name: np.zeros((4, 8)))
    row = classical.row('kmeans')
    d, mine, _ = both(row, SMALL)
    assert quality.inertia({}, d, points) > quality.inertia({}, d, mine) + row.quality.margin


def test_options_know_the_cores_and_the_data():
    d = SimpleNamespace(clusters=3)
    assert classical.options(lambda d: {'k': d.clusters, 'n_jobs': classical.CORES}, d, 2) == {'k': 3, 'n_jobs': 2}


def test_data_are_the_same_for_both_processes():
    for kind in {row.data for row in table.ROWS}:
        one, two = data.made(kind, SMALL), data.made(kind, SMALL)
        assert one.X.dtype == np.float32 and (one.X == two.X).all() and np.isfinite(one.X).all()


def test_our_side_is_compiled_once():
    one = both(classical.row('gaussian_nb'), SMALL)[1]
    assert isinstance(one.call, jax.stages.Compiled)


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, 'lightgbm', None)
    pair = workloads.pair('gradient_boosting_regressor')
    with pytest.raises(UsageError, match=r"against lightgbm needs lightgbm.*pip install 'ai-roadmap\[bench\]'"):
        peers.load('classical').choices(pair, 'lightgbm')


def test_a_row_from_end_to_end():
    pair = workloads.pair('gaussian_nb_tenth')._replace(steps=1, repeats=2)
    env = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
    found = pairs.in_turn(pair, ['ours', 'classical.sklearn'], '', env, single=False)
    row = pairs.conclude(pair, pair.peers[0], found, None, cores=10**6)
    assert row['wall_ratio'] > 0 and row['quality']['equal'] and row['target_one_thread'] is None
    assert row['peak_rss_bytes']['ours'] > 5e7 and row['ours']['compile_s'] > 0


def test_a_target_for_one_thread_is_judged_apart():
    pair = workloads.pair('gradient_boosting_regressor')
    side = lambda s: {'ready': {}, 'wall_s': [s], 'cpu_s': [s], 'quality': {'mse': [0.5]}}
    said = lambda theirs: {'load': [0.1, 0.2], 'sides': {'ours': side(1.0), 'classical.lightgbm': side(theirs)}}
    row = pairs.conclude(pair, pair.peers[0], said(0.4), said(0.5), cores=2)
    assert row['met'] is True and row['met_one_thread'] is False
    assert pairs.conclude(pair, pair.peers[0], said(0.3), said(0.7), cores=2)['met_one_thread'] is True
