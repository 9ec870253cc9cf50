"""Time to accuracy: its verdicts, and that both sides are timed up to the goal and no further."""
import contextlib
import json
import os

import numpy as np
import pytest

from common import datasets
from tools.bench import goals, workloads

PAIR = workloads.pair('mnist_to_99')


def run(ours, theirs, load=(0.5, 1.0)) -> dict:
    """What one seed says: (seconds, accuracies) of each side's turns."""
    side = lambda said: {'ready': {}, 'wall_s': said[0], 'accuracy': said[1]}
    return {'sides': {'ours': side(ours), 'torch_goals.eager': side(theirs)}, 'load': list(load)}


def test_the_ratio_is_that_of_median_times_to_the_goal():
    runs = [run(([1.0], [0.99]), ([1.0, 2.0], [0.98, 0.991])), run(([2.0, 2.0], [0.9, 0.99]), ([4.0], [0.995])),
            run(([2.0], [0.992]), ([9.0], [0.995]))]
    row = goals.conclude(PAIR, PAIR.peers[0], runs, cores=2)
    assert row['wall_s'] == {'ours': [1.0, 4.0, 2.0], 'theirs': [3.0, 4.0, 9.0]}
    assert row['steps_to_goal'] == {'ours': [117, 234, 117], 'theirs': [234, 117, 117]}
    assert row['wall_ratio'] == 2.0 and row['wall_ratios'] == [3.0, 1.0, 4.5]
    assert row['quality']['equal'] and row['met'] is None and row['refused'] is None


def test_no_ratio_under_load_nor_without_the_goal():
    busy = goals.conclude(PAIR, PAIR.peers[0], [run(([1.0], [0.99]), ([1.0], [0.99]), (0.5, 2.5))], cores=2)
    assert busy['wall_ratio'] is busy['wall_ratios'] is None and busy['refused'] == 'load 2.5 on 2 cores'
    missed = goals.conclude(PAIR, PAIR.peers[0], [run(([1.0], [0.9]), ([1.0], [0.99]))], cores=2)
    assert missed['failed'] == '0.99 not reached in 3744 steps: ours, seed 0: 0.9000' and 'wall_ratio' not in missed


class Fake:
    """A side whose accuracy climbs by a fixed amount a turn."""

    def __init__(self, by: float, order: list):
        self.by, self.turns, self.order = by, 0, order

    def read(self, key: str) -> dict:
        return {'key': key}

    def turn(self) -> dict:
        self.turns += 1
        self.order.append(self.by)
        return {'wall': 1.0, 'accuracy': self.by * self.turns}


def test_each_side_stops_at_the_goal(monkeypatch):
    order: list = []
    sides = {'ours': Fake(0.5, order), 'other': Fake(0.25, order)}
    monkeypatch.setattr(goals.pairs, 'side', lambda pair, name, *_, **kwargs: contextlib.nullcontext(sides[name]))
    found = goals.in_turn(PAIR._replace(goal=0.75, repeats=4), list(sides), '', {}, seed=0)['sides']
    assert found['ours']['accuracy'] == [0.5, 1.0] and found['other']['wall_s'] == [1.0] * 3
    assert [side.turns for side in sides.values()] == [2, 3]
    assert order == [0.5, 0.25, 0.5, 0.25, 0.25]


@pytest.mark.parametrize('name', [p.name for p in workloads.GOALS])
def test_both_sides_learn_and_are_looked_at(name, tmp_path):
    """On a few images of the same format, with a goal that nobody passes."""
    rng, pair = np.random.default_rng(0), workloads.pair(name)._replace(steps=4, repeats=2, goal=1.01)
    shape = (28, 28) if name == 'mnist_to_99' else (32, 32, 3)
    made = {f'{kind}_{part}': (rng.integers(0, 256, (n, *shape)) if kind == 'x' else np.arange(n) % 10).astype(np.uint8)
            for part, n in (('train', 160), ('test', 40)) for kind in 'xy'}
    np.savez(tmp_path / pair.data, **made)
    assert len(datasets.load(pair.data.removesuffix('.npz'), data_dir=str(tmp_path)).train['label']) == 160
    env = {k: v for k, v in os.environ.items() if k != 'XLA_FLAGS'}
    sides = ['ours', pair.peers[0].name]
    found = goals.in_turn(pair, sides, str(tmp_path), env, seed=1)['sides']
    for side in sides:
        assert len(found[side]['wall_s']) == len(found[side]['accuracy']) == 2
        assert min(found[side]['wall_s']) > 0 and 0 <= found[side]['accuracy'][-1] <= 1
    json.dumps(found)
