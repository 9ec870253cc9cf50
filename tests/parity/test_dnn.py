"""Deep networks: torch's values, one loss whatever is scanned or rematerialised, and which depths train."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare, eqns
from sklearn.datasets import load_digits

from common import plots, trees
from levels.level2_neural import depth as depth_lib
from levels.level2_neural.dnn import DNN

KEY = jax.random.key(0)
IN, WIDTH, DEPTH, OUT = 6, 5, 4, 3
FORMS = {'plain': {}, 'batch': {'norm': 'batch'}, 'residual': {'residual': True},
         'residual batch': {'residual': True, 'norm': 'batch'}, 'residual layer': {'residual': True, 'norm': 'layer'}}


def made(dtype='float32', **fields):
    model = DNN(width=WIDTH, depth=DEPTH, n_out=OUT, activation='tanh', param_dtype=dtype, **fields)
    x = np.random.default_rng(0).normal(size=(7, IN)).astype(dtype)
    return model, x, jax.jit(model.init)(KEY, x)


def peer(model, variables, x):
    """The formula of the card, layer by layer, in torch; (output, {path: tensor} of the parameters)."""
    leaves = {}

    def of(*path, layer=None):
        name = '/'.join(path)
        if name not in leaves:
            node = variables['params']
            for part in path:
                node = node[part]
            leaves[name] = torch.tensor(np.asarray(node), requires_grad=True)
        return leaves[name] if layer is None else leaves[name][layer]
    dense = lambda h, *path, layer=None: h @ of(*path, 'kernel', layer=layer) + of(*path, 'bias', layer=layer)

    def normed(h, *path, layer=None):
        if model.norm != 'none':
            weight, bias = of(*path, 'scale', layer=layer), of(*path, 'bias', layer=layer)
            if model.norm == 'batch':
                h = torch.nn.functional.batch_norm(h, None, None, weight, bias, training=True)
            else:
                h = torch.nn.functional.layer_norm(h, h.shape[1:], weight, bias)
        return h.tanh()
    h = dense(torch.tensor(x), 'first')
    h = h if model.residual else normed(h, 'norm')
    for layer in range(DEPTH):
        if model.residual:
            scale = 1.0 if model.norm != 'none' else 0.5
            h = h + scale * dense(normed(h, 'layers', 'norm', layer=layer), 'layers', 'dense', layer=layer)
        else:
            h = normed(dense(h, 'layers', 'dense', layer=layer), 'layers', 'norm', layer=layer)
    return dense(normed(h, 'norm') if model.residual else h, 'last'), leaves


@pytest.mark.parametrize('form', FORMS)
def test_outputs_and_gradients_are_torch_s(form):
    with jax.enable_x64(True):
        model, x, variables = made('float64', **FORMS[form])
        stats = {k: v for k, v in variables.items() if k == 'batch_stats'}

        def loss(params):
            y = model.apply({'params': params, **stats}, x, train=True, mutable=list(stats))[0]
            return jnp.sin(y).sum(), y
        (_, got), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables['params'])
        y, leaves = peer(model, variables, x)
        y.sin().sum().backward()
        compare('DNN', 'torch', f'outputs, {form}, f64', got, y.detach().numpy(), 1e-12)
        flat = trees.named_leaves(grads)
        assert set(flat) == set(leaves)
        theirs = {name: leaf.grad.numpy() for name, leaf in leaves.items()}
        # a bias before batch norm moves nothing: its gradient is rounding, and has no scale of its own
        flat = {k: v for k, v in flat.items() if np.abs(theirs[k]).max() > 1e-12}
        assert len(flat) >= len(leaves) - 3
        compare('DNN', 'torch', f'gradients, {form}, f64', flat, {k: theirs[k] for k in flat}, 1e-10, relative=True)
    narrow = lambda tree: jax.tree.map(lambda v: np.asarray(v, np.float32), tree)
    model, x, variables = model.clone(param_dtype='float32'), narrow(x), narrow(variables)
    got = model.apply(variables, x, train=True, mutable=list(stats))[0]
    compare('DNN', 'torch', f'outputs, {form}, f32', got, peer(model, variables, x)[0].detach().numpy(), 1e-5)


def test_scan_and_remat_give_the_same_loss_and_gradients():
    """With dropout, whose masks must be the same ones; the variables as well, from the same key.  In float64, where
    only another formula would be seen; the loss in float32 as well."""
    results = {}
    with jax.enable_x64(True):
        for scan, remat in itertools.product((True, False), repeat=2):
            model, x, variables = made('float64', scan=scan, remat=remat, dropout=0.3, **FORMS['residual batch'])
            stats = {'batch_stats': variables['batch_stats']}

            def loss(params, model=model, x=x, stats=stats):
                y, new = model.apply({'params': params, **stats}, x, train=True, mutable=list(stats),
                                     rngs={'dropout': KEY})
                return jnp.square(y).sum(), new
            fn = jax.value_and_grad(loss, has_aux=True)
            jaxpr = jax.make_jaxpr(fn)(variables['params']).jaxpr
            assert remat == any('remat' in e.primitive.name or 'checkpoint' in e.primitive.name for e in eqns(jaxpr))
            results[scan, remat] = (variables['params'], jax.jit(fn)(variables['params']))
    params, ((value, stats), grads) = results[True, False]
    for key, (theirs, ((other, other_stats), other_grads)) in results.items():
        assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(theirs))), key
        assert abs(other - value) <= 1e-13 * abs(value), (key, value, other)
        for a, b in zip(jax.tree.leaves((stats, grads)), jax.tree.leaves((other_stats, other_grads)), strict=True):
            assert np.abs(a - b).max() <= 1e-12 * max(np.abs(a).max(), 1.0), key
    losses = []
    for scan, remat in itertools.product((True, False), repeat=2):
        model, x, variables = made(scan=scan, remat=remat, residual=True, norm='layer')
        losses.append(float(jnp.square(jax.jit(model.apply)(variables, x)).sum()))
    assert max(losses) - min(losses) <= 2e-7 * max(losses)


def test_the_program_of_a_scan_does_not_grow_with_depth():
    size = lambda depth, scan: sum(1 for _ in eqns(jax.make_jaxpr(
        lambda p: DNN(4, depth, 2, scan=scan).apply(p, jnp.ones((1, 3))))(
            DNN(4, depth, 2).init(KEY, jnp.ones((1, 3)))).jaxpr))
    assert size(5, True) == size(50, True)
    text = lambda depth, scan: len(jax.jit(lambda p: DNN(4, depth, 2, scan=scan).apply(p, jnp.ones((1, 3)))).lower(
        DNN(4, depth, 2).init(KEY, jnp.ones((1, 3)))).as_text())
    assert text(20, False) > 3 * text(5, False) / 2 and text(20, True) < 1.1 * text(5, True)


def test_hidden_layers_and_regression_and_drop_path():
    model, x, variables = made(residual=True, norm='layer', drop_path=0.5)
    y, kept = model.apply({'params': variables['params']}, x, mutable='intermediates')
    hidden, = kept['intermediates']['layers']['hidden']
    assert hidden.shape == (DEPTH, 7, WIDTH) and y.shape == (7, OUT)
    draw = lambda seed: model.apply({'params': variables['params']}, x, train=True,
                                    rngs={'dropout': jax.random.key(seed)}, mutable='intermediates')
    hidden, = draw(0)[1]['intermediates']['layers']['hidden']
    skipped = (np.diff(hidden, axis=0) == 0).all(-1)
    assert 0 < skipped.mean() < 1, 'some examples skip a layer, others do not'
    assert not np.array_equal(draw(0)[0], draw(1)[0])
    line = DNN(width=4, depth=2, n_out=1, kind='regression')
    assert line.apply(line.init(KEY, x), x).shape == (7,)


def test_bad_input_is_one_line():
    x = jnp.ones((2, 3))
    for fields, message in (({'norm': 'btach'}, "norm: expected one of none, batch, layer; found 'btach'"),
                            ({'depth': 0}, 'depth: expected 1 or more'), ({'dropout': 1.0}, 'dropout: expected a rate'),
                            ({'drop_path': 0.1}, 'drop_path: expected 0 without residual'),
                            ({'activation': 'rellu'}, 'activation: expected'), ({'kind': 'x'}, 'kind: expected')):
        with pytest.raises(ValueError, match=f'^{message}'):
            DNN(**{'width': 4, 'depth': 2, 'n_out': 2, **fields}).init(KEY, x)
    with pytest.raises(ValueError, match='^x: expected'):
        DNN(4, 2, 2).init(KEY, jnp.ones(3))


@pytest.fixture(scope='module')
def digits():
    x, labels = load_digits(return_X_y=True)
    return (x[:500] / 16).astype(np.float32), labels[:500]


def test_a_deep_plain_network_learns_nothing_and_a_residual_one_does(digits, tmp_path):
    """50 layers, digits of three kinds, 60 steps of Adam: the experiment at its smallest."""
    x, labels = digits
    few = labels < 3
    variants = {k: depth_lib.VARIANTS[k] for k in ('plain, LeCun', 'residual, layer norm')}
    found = depth_lib.trainability(KEY, x[few], labels[few], depths=(50,), variants=variants, steps=60, width=16,
                                   batch_size=32)
    plain, residual = (found[k] for k in variants)
    assert plain.loss[0] > 0.97 * np.log(3) and plain.gradient[0] < 1e-5
    assert residual.loss[0] < 0.5 and residual.accuracy[0] > 0.9 and residual.gradient[0] > 1e-3
    figure = depth_lib.draw(found, 'Digits')
    assert np.array_equal(figure.axes[0].lines[1].get_ydata(), residual.loss)
    assert plots.save(figure, tmp_path / 'x.png').stat().st_size > 5000


def test_the_experiment_refuses_bad_input(digits):
    with pytest.raises(ValueError, match='^depths: expected'):
        depth_lib.trainability(KEY, *digits, depths=())
    with pytest.raises(ValueError, match='^x, labels: expected'):
        depth_lib.trainability(KEY, digits[0], digits[1][:5], depths=(1,))


@pytest.mark.slow
def test_depth_against_trainability(digits):
    """All variants at 2 and 50 layers, over three seeds: what gets worse with depth and what does not."""
    for seed in range(3):
        found = depth_lib.trainability(jax.random.key(seed), *digits, depths=(2, 50))
        assert all(v.loss[0] < 0.3 for v in found.values())
        assert found['plain, LeCun'].loss[1] > 2.2 and found['plain, LeCun'].gradient[1] < 1e-9
        assert found['batch norm'].gradient[1] > 1, 'batch norm alone: gradients grow with depth'
        for name in ('residual', 'residual, layer norm'):
            assert found[name].loss[1] < 0.15 and found[name].accuracy[1] > 0.95, name
            assert found['plain, He'].loss[1] > 3 * found[name].loss[1] < found['batch norm'].loss[1]
