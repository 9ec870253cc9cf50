"""The laws of every Linen module in the catalogue.  A new module must add its case here, or the count fails."""

import inspect
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.catalogue import load, members


class Case(NamedTuple):
    """How to build a member for the laws: smooth activations, so that no unit is dead and every gradient counts."""

    fields: dict[str, Any]
    shape: tuple[int, ...]  # of the input, with its batch axis
    parameters: int  # the paper's count, or counted by hand beside it
    tokens: int = 0  # > 0: the input is integers below it


CASES = {
    'MLP': Case({'hidden': (7, 5), 'n_out': 3, 'activation': 'tanh'}, (6, 2, 2, 1), 5 * 7 + 8 * 5 + 6 * 3),
    'SingleLayer': Case({'n_out': 3, 'head': 'softmax', 'kernel_init': nn.initializers.lecun_normal()}, (6, 2, 2),
                        3 * 4 + 3),
    'BatchNorm': Case({}, (6, 5, 12), 2 * 12),
    'DNN': Case({'width': 5, 'depth': 3, 'n_out': 3, 'residual': True, 'norm': 'layer', 'activation': 'tanh'},
                (6, 2, 3), 7 * 5 + 3 * 6 * 5 + 6 * 3 + 2 * 5 * 4),
    'SharedNet': Case({'image': (6, 4, 1), 'channels': (3,), 'hidden': (5,), 'n_out': 3, 'activation': 'tanh'},
                      (6, 6, 4, 1), 9 * 3 + 2 * 3 + (3 * 2 * 3 + 1) * 5 + 6 * 3),
    'Conv': Case({'features': 4, 'kernel_size': (3, 3)}, (6, 5, 5, 12), 9 * 12 * 4 + 4),
    'ConvTranspose': Case({'features': 4, 'kernel_size': (3, 3), 'strides': (2, 2)}, (6, 4, 4, 3), 9 * 3 * 4 + 4),
    'ConvBlock': Case({'features': 4, 'activation': 'tanh'}, (6, 5, 5, 3), 9 * 3 * 4 + 2 * 4),
    'CNN': Case({'widths': (4, 6), 'n_classes': 3, 'activation': 'tanh', 'pool': 'avg'}, (6, 6, 6, 2),
                9 * 2 * 4 + 2 * 4 + 9 * 4 * 6 + 2 * 6 + 7 * 3),
    'LeNet5': Case({'activation': 'tanh', 'pool': 'avg'}, (6, 28, 28, 1), 61_706),
    'LeNet5Original': Case({}, (6, 28, 28, 1), 60_000),
    'ResNet': Case({'blocks': (1, 1), 'width': 4, 'n_classes': 3, 'stem': 'cifar', 'activation': 'tanh',
                    'zero_init': False}, (6, 8, 8, 3),      # a branch that begins as zero teaches its layers nothing
                   27 * 4 + 8 + 2 * (9 * 16 + 8) + 9 * 32 + 9 * 64 + 32 + 3 * 16 + 9 * 3),
    'VGG': Case({'groups': (1, 1), 'width': 2, 'hidden': 4, 'n_classes': 3, 'activation': 'tanh', 'dropout': 0.0,
                 'batch_norm': True}, (6, 12, 12, 3),
                28 * 2 + 4 + 19 * 4 + 8 + (49 * 4 + 1) * 4 + 5 * 4 + 5 * 3),
    'AlexNet': Case({'variant': 'original', 'width': 4, 'hidden': 4, 'n_classes': 3, 'activation': 'tanh',
                     'dropout': 0.0, 'kernel_init': nn.initializers.lecun_normal()}, (6, 99, 99, 3),
                    364 * 6 + 76 * 16 + 145 * 24 + 109 * 24 + 109 * 16 + 65 * 4 + 5 * 4 + 5 * 3),
    'MobileNetV2': Case({'stages': ((1, 8, 1, 1), (6, 8, 1, 1)), 'width': 0.25, 'last': 8, 'n_classes': 3,
                         'dropout': 0.0, 'activation': jnp.tanh}, (6, 8, 8, 3),
                        29 * 8 + (11 + 10) * 8 + (10 + 11) * 48 + 50 * 8 + 10 * 8 + 9 * 3),
    'MobileNetV3': Case({'stages': (((3, 16, 16, True, True, 2), (3, 24, 16, False, False, 1)),), 'hidden': 8,
                         'n_classes': 3, 'dropout': 0.0, 'relu': jnp.tanh, 'swish': jnp.tanh}, (6, 8, 8, 3),
                        29 * 16 + 11 * 16 + 17 * 8 + 9 * 16 + 18 * 16 + (18 + 11) * 24 + 26 * 16
                        + 18 * 96 + 97 * 8 + 9 * 3),
    'EfficientNet': Case({'stages': ((3, 1, 1, 8, 1), (3, 2, 2, 8, 1)), 'n_classes': 3, 'dropout': 0.0,
                          'drop_path': 0.0, 'activation': jnp.tanh}, (6, 8, 8, 3),
                         29 * 32 + 11 * 32 + 33 * 8 + 9 * 32 + 34 * 8 + (10 + 11) * 16 + 17 * 2 + 3 * 16 + 18 * 8
                         + 10 * 32 + 33 * 3),
    # qk_norm: without it a bias of the keys moves all scores of a query alike, and its gradient is zero by rights
    'MultiHeadAttention': Case({'width': 12, 'heads': 3, 'qk_norm': True}, (6, 5, 12), 4 * 12 * 12 + 4 * 12),
    'LayerNorm': Case({}, (6, 5, 12), 2 * 12),
    'RMSNorm': Case({}, (6, 5, 12), 12),
    'GPT': Case({'vocab_size': 9, 'context': 5, 'layers': 2, 'heads': 2, 'width': 8, 'qk_norm': True}, (6, 5),
                (9 + 5) * 8 + 2 * (12 * 8 * 8 + 13 * 8) + 2 * 8, tokens=9),
}


def build(row, **fields):
    case = CASES[row.name]
    model = load(row)(**case.fields | fields)
    key = jax.random.key(1)
    x = jax.random.randint(key, case.shape, 0, case.tokens) if case.tokens else jax.random.normal(key, case.shape)
    return model, x, jax.jit(model.init)(jax.random.key(0), x)


def parameter_count(row):
    variables = build(row)[2]
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == CASES[row.name].parameters


def every_parameter_learns(row):
    """Not each array: each number.  A masked or disconnected weight has a gradient of exactly zero."""
    model, x, variables = build(row)
    variables = {k: v for k, v in variables.items() if k != 'intermediates'}

    def loss(params):
        y = model.apply(variables | {'params': params}, x)
        return jnp.sum(jnp.sin(y / 10 + jnp.arange(y.size).reshape(y.shape)))

    for path, grad in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(variables['params'])):
        assert jnp.isfinite(grad).all(), jax.tree_util.keystr(path)
        assert (grad != 0).all(), f'{jax.tree_util.keystr(path)}: {int((grad == 0).sum())} of {grad.size} learn nothing'


def train_differs_by_dropout_and_batch_norm_only(row):
    model, x, variables = build(row)
    variables = {k: v for k, v in variables.items() if k != 'intermediates'}
    assert set(variables) <= {'params', 'batch_stats'}
    evaluated = model.apply(variables, x, train=False)
    assert np.array_equal(evaluated, model.apply(variables, x)), 'train must default to False'
    if 'batch_stats' not in variables:
        assert np.array_equal(evaluated, model.apply(variables, x, train=True)), 'no rate is set, so nothing may differ'
    if 'dropout' in fields_of(model):
        model = model.clone(dropout=0.5)
        assert np.array_equal(evaluated, model.apply(variables, x)), 'dropout in evaluation'
        draws = [model.apply(variables, x, train=True, rngs={'dropout': jax.random.key(k)}, mutable='batch_stats')[0]
                 for k in (0, 0, 1)]
        assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


def bfloat16_runs(row):
    model, x, variables = build(row)
    exact = model.apply(variables, x)
    half = build(row, dtype=jnp.bfloat16)[0]
    stored = build(row, dtype=jnp.bfloat16)[2]['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype('float32')}, 'dtype changed param_dtype'
    y = half.apply(variables, x)
    assert jnp.isfinite(y).all() and not np.array_equal(y, exact)
    assert jnp.abs(y - exact).max() < 0.05 * jnp.abs(exact).max()
    narrow = build(row, param_dtype=jnp.bfloat16)[2]['params']
    assert {leaf.dtype for leaf in jax.tree.leaves(narrow)} == {jnp.dtype('bfloat16')}


def form(row):
    """One positional array, `train` by keyword and False, dtype and param_dtype fields, jit changes nothing."""
    model, x, variables = build(row)
    assert isinstance(model, nn.Module) and {'dtype', 'param_dtype'} <= fields_of(model)
    call = inspect.signature(type(model).__call__).parameters
    assert call['train'].kind is inspect.Parameter.KEYWORD_ONLY and call['train'].default is False
    assert sum(p.kind is not inspect.Parameter.KEYWORD_ONLY for p in call.values()) <= 3  # self and two arrays
    jitted = jax.jit(model.apply)(variables, x)
    assert jnp.abs(jitted - model.apply(variables, x)).max() <= 1e-5 * jnp.abs(jitted).max()


def fields_of(model):
    return set(type(model).__dataclass_fields__)


LAWS = (parameter_count, every_parameter_learns, train_differs_by_dropout_and_batch_norm_only, bfloat16_runs, form)
PAIRS = [(row, law) for row in members(kind='linen module') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='linen module')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 105
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
