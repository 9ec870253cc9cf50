"""The laws of every loss in the catalogue.  A new loss must add its case here, or the count fails."""

import inspect
from collections.abc import Callable
from math import exp, log
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from common import metrics as M
from levels.catalogue import load, members

B, K = 6, 4
RNG = np.random.default_rng


class Case(NamedTuple):
    """How to call a member.  `kinds` of the two arguments: logits [B, K], scores [B], classes, signs, bits or
    distributions; points [B, K] twice; frames [B, 4, K] and words [B, 2], padded with -100; `hand`: (arguments,
    keywords, values) worked out on paper; `refused`: (change, message)."""

    kinds: tuple[str, str]
    hand: list[tuple[tuple, dict, list[float]]]
    variants: list[dict[str, Any]]
    refused: list[tuple[tuple, dict, str]]


EVEN = [[0.0, log(3.0)], [0.0, log(3.0)]]      # softmax 1/4, 3/4
CLASSES = [((jnp.zeros((2, 3)), jnp.zeros(3, int)), {}, 'logits, labels: expected'),
           ((jnp.zeros((2, 3)), jnp.zeros(2)), {}, 'logits, labels: expected')]
SHAPES = [((jnp.zeros(2), jnp.zeros(3)), {}, 'expected equal shapes; found'),
          ((jnp.zeros((2, 1)), jnp.zeros(2)), {}, 'expected equal shapes; found')]
CASES = {
    'softmax_cross_entropy': Case(
        ('logits', 'classes'),
        [((EVEN, [0, 1]), {}, [log(4), log(4 / 3)]),
         ((EVEN, [0, -100]), {}, [log(4), 0]),
         ((EVEN, [0, 1]), {'ignore_index': 0}, [0, log(4 / 3)]),
         ((EVEN, [0, 1]), {'label_smoothing': 0.2}, [0.9 * log(4) + 0.1 * log(4 / 3), 0.1 * log(4) + 0.9 * log(4 / 3)]),
         ((EVEN, [0, 1]), {'class_weights': [2.0, 0.5]}, [2 * log(4), 0.5 * log(4 / 3)]),
         ((EVEN, [0, 1]), {'class_weights': [2.0, 0.5], 'label_smoothing': 0.2},
          [1.8 * log(4) + 0.05 * log(4 / 3), 0.2 * log(4) + 0.45 * log(4 / 3)])],
        [{}, {'label_smoothing': 0.1, 'class_weights': (1.0, 0.5, 2.0, 0.0)}, {'ignore_index': 1}],
        [*CLASSES, ((jnp.zeros((2, 3)), jnp.zeros(2, int)), {'label_smoothing': 1.5}, 'label_smoothing: expected'),
         ((jnp.zeros((2, 3)), jnp.zeros(2, int)), {'class_weights': [1.0]}, 'class_weights: expected shape')]),
    'binary_cross_entropy': Case(
        ('scores', 'bits'),
        [(([0.0, log(3.0), log(3.0)], [1, 0, 1]), {}, [log(2), log(4), log(4 / 3)]),
         (([0.0, log(3.0), log(3.0)], [0.5, 0.5, 0.25]), {}, [log(2), log(4) / 2 + log(4 / 3) / 2,
                                                              0.75 * log(4) + 0.25 * log(4 / 3)]),
         (([0.0, log(3.0)], [1, 0]), {'pos_weight': 3.0}, [3 * log(2), log(4)])],
        [{}, {'pos_weight': 2.5}],
        [*SHAPES, ((jnp.zeros(2), jnp.zeros(2)), {'pos_weight': -1.0}, 'pos_weight: expected')]),
    'focal_loss': Case(
        ('scores', 'bits'),
        [(([0.0, log(3.0), log(3.0)], [1, 0, 1]), {'alpha': None}, [log(2) / 4, 9 / 16 * log(4), log(4 / 3) / 16]),
         (([0.0, log(3.0)], [1, 0]), {}, [log(2) / 16, 0.75 * 9 / 16 * log(4)]),
         (([0.0, log(3.0)], [1, 0]), {'gamma': 0.0, 'alpha': None}, [log(2), log(4)])],
        [{}, {'gamma': 0.5}, {'gamma': 0.0, 'alpha': None}],
        [*SHAPES, ((jnp.zeros(2), jnp.zeros(2)), {'gamma': -1.0}, 'gamma, alpha: expected'),
         ((jnp.zeros(2), jnp.zeros(2)), {'alpha': 2.0}, 'gamma, alpha: expected')]),
    'squared_error': Case(('scores', 'scores'), [(([1.0, 2.0, -1.0], [4.0, 2.0, 1.0]), {}, [9, 0, 4])], [{}], SHAPES),
    'huber_loss': Case(
        ('scores', 'scores'),
        [(([0.5, -3.0, 1.0, 0.0], [0.0] * 4), {}, [0.125, 2.5, 0.5, 0]),
         (([0.5, -3.0, 9.0], [0.0] * 3), {'delta': 4.0}, [0.125, 4.5, 28])],
        [{}, {'delta': 0.3}],
        [*SHAPES, ((jnp.zeros(2), jnp.zeros(2)), {'delta': 0.0}, 'delta: expected')]),
    'hinge_loss': Case(
        ('scores', 'signs'),
        [(([2.0, 0.5, 0.5, -3.0], [1, 1, -1, -1]), {}, [0, 0.5, 1.5, 0]),
         (([2.0, 0.5, 0.5, -3.0], [1, 1, -1, 1]), {'power': 2, 'margin': 2.0}, [0, 2.25, 6.25, 25])],
        [{}, {'power': 2}],
        [*SHAPES, ((jnp.zeros(2), jnp.zeros(2)), {'power': 3}, 'power: expected')]),
    'multi_margin_loss': Case(
        ('logits', 'classes'),
        [(([[3.0, 2.5, 0.0, 5.0]], [0]), {}, [(0.5 + 3) / 4]),
         (([[3.0, 2.5, 0.0, 5.0]], [0]), {'power': 2}, [(0.25 + 9) / 4]),
         (([[3.0, 2.5, 0.0, 5.0]], [3]), {'margin': 3.0}, [(1 + 0.5) / 4])],
        [{}, {'power': 2}],
        [*CLASSES, ((jnp.zeros((2, 3)), jnp.zeros(2, int)), {'power': 0}, 'power: expected')]),
    'kl_divergence': Case(
        ('logits', 'distributions'),
        [((EVEN, [[0.25, 0.75], [0.0, 1.0]]), {}, [0, log(4 / 3)]),
         (([[0.0, 0.0]], [[0.25, 0.75]]), {}, [0.25 * log(1 / 2) + 0.75 * log(3 / 2)])],
        [{}], [*SHAPES, ((jnp.zeros(()), jnp.zeros(())), {}, 'logits, targets: expected')]),
    'ctc_loss': Case(
        ('frames', 'words'),
        # uniform over 3 classes, 2 frames: 9 paths; 3 of them read as 1, one as 1 2, one as nothing
        [((np.zeros((3, 2, 3)), [[1, -100], [1, 2], [-100, -100]]), {}, [log(3), log(9), log(9)]),
         ((np.zeros((2, 2, 3)), [[1, -100], [-100, -100]]), {'lengths': np.array([1, 0])}, [log(3), 0]),
         ((np.log([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]]]), [[0, -9]]), {'blank': 2, 'ignore_index': -9},
          [-log(0.5 * 0.25 + 0.5 * 0.25 + 0.25 * 0.25)])],
        [{}, {'blank': 3}],
        [((np.zeros((2, 3)), np.zeros((2, 2), int)), {}, 'logits, labels: expected'),
         ((np.zeros((2, 2, 3)), np.zeros((2, 2))), {}, 'logits, labels: expected'),
         ((np.zeros((2, 0, 3)), np.zeros((2, 2), int)), {}, 'logits: expected at least one frame'),
         ((np.zeros((2, 2, 3)), np.zeros((2, 2), int)), {'blank': 3}, 'blank: expected a class, 0 to 2; found 3'),
         ((np.zeros((2, 2, 3)), np.zeros((2, 2), int)), {'lengths': np.ones(2)}, 'lengths: expected integers')]),
    'triplet_loss': Case(
        ('points', 'points'),
        [(([[0.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [0.3, 0.4]]), {'negatives': np.array([0.0, 2.0])}, [4, 0]),
         (([[0.0, 0.0]], [[3.0, 4.0]]), {'negatives': np.array([[0.0, 2.0]]), 'power': 1, 'margin': 0.5}, [5.5]),
         (([[0.0, 0.0]], [[3.0, 4.0]]), {'negatives': np.array([3.0, 5.0]), 'swap': True, 'margin': 2.0}, [6]),
         (([[1.0, 1.0]], [[1.0, 1.0]]), {'negatives': np.array([1.0, 1.0])}, [1])],
        [{'negatives': np.linspace(-1, 1, K), 'margin': 2.0},
         {'negatives': np.linspace(-1, 1, K), 'margin': 2.0, 'power': 1},
         {'negatives': np.linspace(-1, 1, K), 'margin': 3.0, 'swap': True}],
        [((np.zeros((2, 3)), np.zeros((2, 2))), {'negatives': np.zeros(3)}, 'anchors, positives: expected equal'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'negatives': np.zeros(2)}, 'negatives: expected shape'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'negatives': np.zeros(3), 'margin': -1.0}, 'margin, power: expected'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'negatives': np.zeros(3), 'power': 3}, 'margin, power: expected')]),
    'info_nce': Case(
        ('points', 'points'),
        [(([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]]), {'temperature': 1.0}, [log(1 + exp(-1))] * 2),
         (([[1.0, 0.0]], [[2.0, 0.0]]), {'negatives': np.array([[0.0, 1.0], [-1.0, 0.0]]), 'temperature': 0.5},
          [log(1 + exp(-2) + exp(-4))]),
         (([[1.0, 0.0]], [[2.0, 0.0]]), {'negatives': np.array([[3.0, 1.0]]), 'temperature': 1.0, 'normalize': False},
          [log(1 + exp(1))])],
        [{'negatives': np.arange(3 * K).reshape(3, K) % 7 - 3.0},
         {'negatives': np.arange(3 * K).reshape(3, K) % 7 - 3.0, 'normalize': False, 'temperature': 2.0}],
        [((np.zeros((2, 3)), np.zeros((2, 2))), {}, 'queries, keys: expected equal'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'temperature': 0.0}, 'temperature: expected a number above 0'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'negatives': np.zeros((2, 2))}, 'negatives: expected'),
         ((np.zeros((2, 3)), np.zeros((2, 3))), {'exclude': np.zeros(2, bool)}, 'exclude: expected shape'),
         ((np.zeros((2, 2, 3)), np.zeros((2, 2, 3))), {}, 'queries: expected')]),
    'rbf_mse_loss': Case(('logits', 'classes'), [(([[-3.0, -50.0], [-2.0, -1.0]], [0, 1]), {}, [3, 1])], [{}], []),
    'rbf_map_loss': Case(
        ('logits', 'classes'),
        [(([[-3.0, -5.0], [-2.0, -2.0]], [1, 0]), {'j': 3.0},
          [5 + log(2 * exp(-3) + exp(-5)), 2 + log(exp(-3) + 2 * exp(-2))])],
        [{}, {'j': 2.0}], [((jnp.zeros((2, 3)), jnp.zeros(2, int)), {'j': 0.0}, 'j: expected a positive')]),
}


def build(row, dtype=np.float32, rows=B):
    """The function and two arguments, none of which sits on a kink."""
    rng, (first, second) = RNG(7), CASES[row.name].kinds
    x = rng.normal(size={'logits': (rows, K), 'points': (rows, K), 'frames': (rows, 4, K)}.get(first, rows))
    x = x.astype(dtype)
    bits = rng.integers(0, 2, rows)
    y = {'classes': rng.integers(0, K, rows), 'bits': bits, 'signs': 2 * bits - 1, 'scores': rng.normal(size=rows),
         'distributions': rng.dirichlet(np.ones(K), rows), 'points': rng.normal(size=(rows, K)),
         'words': np.array([[1, 2], [2, 2], [1, -100], [-100, -100], [2, 1], [1, 1]])[:rows]}[second]
    return load(row), jnp.asarray(x), jnp.asarray(y, jnp.int32 if y.dtype.kind == 'i' else dtype)


def variants(row) -> list[Callable]:
    return [lambda x, y, keywords=keywords: load(row)(x, y, **keywords) for keywords in CASES[row.name].variants]


def hand_values(row):
    for args, keywords, values in CASES[row.name].hand:
        got = np.asarray(load(row)(*map(jnp.asarray, args), **keywords))       # not jitted
        assert got.shape == (len(values),) and np.abs(got - values).max() < 1e-5 * max(1, *map(abs, values))


def masked_is_sliced(row):
    """Rows know nothing of each other: what a mask hides changes no value and no gradient of the rest."""
    _, x, y = build(row)
    keep = np.array([1, 0, 1, 1, 0, 1], bool)
    kept, hidden = np.flatnonzero(keep), ~keep.reshape(-1, *(1,) * (x.ndim - 1))
    for loss in variants(row):
        mean = lambda x, y, mask=None, loss=loss: M.mean(loss(x, y), mask).value

        @jax.jit
        def program(x, y, loss=loss, mean=mean):
            singles = jnp.concatenate([loss(x[i:i + 1], y[i:i + 1]) for i in range(B)])
            masked = [jax.value_and_grad(mean)(jnp.where(hidden, junk, x), y, keep) for junk in (1e4, jnp.nan)]
            return loss(x, y), singles, masked, jax.value_and_grad(mean)(x[kept], y[kept])

        whole, singles, masked, (v, g) = jax.tree.map(np.asarray, program(x, y))
        assert np.abs(whole - singles).max() < 1e-6 and np.abs(g).max() > 1e-3
        for value, grad in masked:
            assert abs(value - v) < 1e-6 and np.abs(grad[keep] - g).max() < 1e-6
        assert not masked[0][1][~keep].any()


def gradients(row):
    """Against differences, twice, in float64."""
    with jax.enable_x64(True):
        _, x, y = build(row, np.float64)
        for loss in variants(row):
            assert jax.eval_shape(loss, x, y).dtype == jnp.float64
            total = jax.jit(lambda x, loss=loss: jnp.sum(loss(x, y) * (1 + jnp.arange(B))))
            for fn in (total, jax.jit(jax.grad(total))):
                check_grads(fn, (x,), order=1, modes=('rev',), eps=1e-5)


def finite_at_extremes(row):
    """Values and gradients at +-1e4, and at 0, with every label, in float32 and bfloat16."""
    kinds = CASES[row.name].kinds
    ends = (1e4, -1e4, 0.0)
    if kinds[0] in ('logits', 'points', 'frames'):
        x = np.array([[a, b, c] for a in ends for b in ends for c in ends])
        labels = {'classes': range(3), 'distributions': [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 0.5, 0)],
                  'points': [(0, 0, 0), (1e4, -1e4, 1e4)],
                  'words': [(1, 2), (1, 1), (2, -100), (-100, -100)]}[kinds[1]]
        if kinds[0] == 'frames':        # four frames, each at another extreme
            x = np.stack([np.roll(x, 5 * t, 0) for t in range(4)], 1)
    else:
        x = np.array(ends)
        labels = {'bits': (0, 1), 'signs': (-1, 1), 'scores': (0.0, 1e4, -1e4)}[kinds[1]]
    y = np.repeat(np.array(labels), len(x), axis=0)
    x = np.concatenate([x] * len(labels))
    for keywords in CASES[row.name].variants:
        if 'class_weights' in keywords:
            keywords = keywords | {'class_weights': keywords['class_weights'][:3]}
        if 'negatives' in keywords:
            keywords = keywords | {'negatives': keywords['negatives'][..., :3]}
        if 'blank' in keywords:
            keywords = keywords | {'blank': 0}

        @jax.jit
        def program(x, keywords=keywords):
            smooth = y.dtype.kind == 'f'        # targets that are not classes have gradients too
            fn = lambda x, y: load(row)(x, jnp.asarray(y), **keywords)
            value, pull = jax.vjp(fn, x, jnp.asarray(y)) if smooth else jax.vjp(lambda x: fn(x, y), x)
            return value, pull(jnp.ones_like(value))

        for dtype in (jnp.float32, jnp.bfloat16):
            value, grads = program(jnp.asarray(x, dtype))
            assert all(np.isfinite(np.float32(a)).all() for a in (value, *grads)), dtype
            assert not row.import_path.startswith('levels.level2') or value.dtype == jnp.float32


def per_example(row):
    """One value each, in the order of the rows; vmap changes nothing; no rows are no values."""
    _, x, y = build(row)
    for loss in variants(row):
        value, again, halves = jax.tree.map(np.asarray, jax.jit(lambda x, y, loss=loss: (
            loss(x, y), loss(x[::-1], y[::-1]),
            jax.vmap(loss)(x.reshape(2, 3, *x.shape[1:]), y.reshape(2, 3, *y.shape[1:]))))(x, y))
        assert value.shape == (B,) and len(set(value.tolist())) > 1
        assert np.abs(again[::-1] - value).max() < 1e-6 and np.abs(halves.reshape(B) - value).max() < 1e-6
        assert jax.eval_shape(loss, x[:0], y[:0]).shape == (0,)


def form(row):
    """Two positional arrays, keywords after them; what is refused is said in one line."""
    kinds = [p.kind for p in inspect.signature(load(row)).parameters.values()]
    assert kinds[:2] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert set(kinds[2:]) <= {inspect.Parameter.KEYWORD_ONLY}
    for args, keywords, message in CASES[row.name].refused:
        with pytest.raises(ValueError, match=message) as error:
            load(row)(*args, **keywords)
        assert '\n' not in str(error.value)


LAWS = (hand_values, masked_is_sliced, gradients, finite_at_extremes, per_example, form)
PAIRS = [(row, law) for row in members(kind='loss') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='loss')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 78
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
