"""`wrappers.side_by_side`: each part ends as it would alone, from the same keys and batches."""
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import tasks, trees
from common.task import train_fn
from common.wrappers import side_by_side
from levels.level2_neural.mlp import MLP

KEY = jax.random.key(0)


def part(dropout=0.0, rate=0.1):
    return tasks.classifier(MLP(hidden=(5,), n_out=3, dropout=dropout), optax.sgd(rate), image='x')


def rows():
    return {'x': jax.random.normal(KEY, (12, 4)), 'label': jnp.arange(12) % 3}


def test_each_part_ends_as_it_would_alone():
    parts = {'calm': part(), 'fast': part(dropout=0.5, rate=1.0)}
    many = side_by_side(parts)
    carry, metrics = jax.jit(train_fn(many, 5))(KEY, rows())
    assert set(metrics) == {f'{m}_{name}' for name in parts for m in ('loss', 'accuracy')}
    found = many.evaluate(KEY, carry.state, rows())
    for name, task in parts.items():
        alone, seen = jax.jit(train_fn(task, 5))(KEY, rows())
        for a, b in zip(jax.tree.leaves(carry.state[name]), jax.tree.leaves(alone.state), strict=True):
            assert np.allclose(a, b, rtol=1e-5, atol=1e-6)
        assert np.allclose(metrics[f'loss_{name}'].value, seen['loss'].value, rtol=1e-5)
        assert np.allclose(found[f'accuracy_{name}'].value, task.evaluate(KEY, alone.state, rows())['accuracy'].value)
    first = jax.jit(many.init)(KEY, rows())
    assert trees.sha256(first['calm'].params) == trees.sha256(first['fast'].params)
    assert trees.sha256(carry.state['calm'].params) != trees.sha256(carry.state['fast'].params)


def test_without_evaluation_and_without_parts():
    assert side_by_side({'a': part(), 'b': part()._replace(evaluate=None)}).evaluate is None
    with pytest.raises(ValueError, match='parts: expected one task or more'):
        side_by_side({})
