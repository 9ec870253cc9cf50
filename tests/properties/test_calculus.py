"""Derivatives at kinks, order two, the tape's operations, laws of chains and parts, honesty of the bounds."""
import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from levels.level0_foundations.calculus import tape
from levels.level0_foundations.calculus.chain import chain_rule, clip_gradient, log1pexp
from levels.level0_foundations.calculus.derivative import derivative, side_by_side
from levels.level0_foundations.calculus.functions import FUNCTIONS, KINKS
from levels.level0_foundations.calculus.gradients import gradient, hessian, hvp, jacobian, jvp, vjp
from levels.level0_foundations.calculus.implicit import fixed_point, implicit_gradient
from levels.level0_foundations.calculus.partial import jacobian_columns, partial_derivative, total_derivative

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True, scope='module')
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize('f', FUNCTIONS, ids=lambda f: f.name)
def test_four_ways_agree_to_a_millionth(f):
    x = np.linspace(f.low, f.high, 24)
    found = side_by_side(f.fn, jnp.asarray(x))
    assert found.smooth.all()
    for other in (found.reverse, found.central, found.complex_step):
        np.testing.assert_allclose(other, found.forward, rtol=1e-6, atol=1e-6)
    if f.kinks:
        found = side_by_side(f.fn, jnp.asarray(f.kinks))
        np.testing.assert_allclose(found.central, (found.left + found.right) / 2, atol=1e-4)
        assert (found.smooth == (f.name in ('huber', 'elu'))).all()      # these two have kinks in their slopes alone


@pytest.mark.parametrize('kink', KINKS, ids=lambda k: k.name)
def test_kinks_are_as_stated(kink):
    found = side_by_side(kink.fn, jnp.asarray(kink.at))
    assert not found.smooth
    for name in ('forward', 'reverse', 'central', 'complex_step', 'left', 'right'):
        stated, value = getattr(kink, name), float(getattr(found, name))
        assert (value * stated > 0 and abs(value) > 1e4) if np.isinf(stated) else abs(value - stated) < 1e-4, name


def tree_fn(x):
    return {'a': jnp.tanh(x['w'] @ x['b']), 'n': (jnp.sum(jnp.exp(x['w'])), x['b'] * x['s'])}


TREE = {'w': RNG.normal(size=(2, 3)), 'b': RNG.normal(size=3), 's': np.array(0.7)}


def test_trees():
    scalar = lambda x: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree_fn(x)))
    check_grads(jax.jit(tree_fn), (TREE,), 2, modes=['fwd', 'rev'], atol=1e-6, rtol=1e-6)
    like = lambda tree: jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), tree)
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    v, u = like(TREE), like(jax.eval_shape(tree_fn, TREE))

    @jax.jit        # one program: compiling many small ones takes longer
    def every(x):
        J = [jacobian(tree_fn, x, dense=True, mode=mode) for mode in ('forward', 'reverse')]
        rows = jacobian(lambda x: gradient(scalar, x), x, dense=True)
        return (jvp(tree_fn, x, v=v)[1], vjp(tree_fn, x, u=u)[1], hvp(scalar, x, v=v), *J, rows,
                hessian(scalar, x, dense=True), hessian(scalar, x), jacobian(tree_fn, x))

    Jv, uJ, Hv, J, back, rows, H, H_tree, J_tree = every(TREE)
    np.testing.assert_allclose(J, back, atol=1e-13)
    np.testing.assert_allclose(flat(Jv), J @ flat(v), atol=1e-12)
    np.testing.assert_allclose(flat(uJ), flat(u) @ J, atol=1e-12)
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    np.testing.assert_allclose(flat(Hv), H @ flat(v), atol=1e-11)
    np.testing.assert_allclose(H, rows, atol=1e-11)
    names = ['b', 's', 'w']     # in the order of jax.tree.leaves
    assert H_tree['w']['b'].shape == (2, 3, 3) and J_tree['a']['w'].shape == (2, 2, 3)
    np.testing.assert_allclose(np.hstack([np.reshape(H_tree['s'][k], (1, -1)) for k in names])[0], H[3], atol=1e-13)
    np.testing.assert_allclose(np.hstack([np.reshape(J_tree['a'][k], (2, -1)) for k in names]), J[:2], atol=1e-13)
    # auto: one pass back, not five forward
    assert 'f64[5,5]' not in str(jax.make_jaxpr(lambda x: jacobian(jnp.sum, x))(np.ones(5)))


OPERATIONS = {
    'add': (lambda t, a, b: a + b[:1] + 1.0, lambda a, b: a + b[:1] + 1.0),
    'sub': (lambda t, a, b: 2.0 - a - b, lambda a, b: 2.0 - a - b),
    'mul': (lambda t, a, b: a * b[0] * np.arange(3.0), lambda a, b: a * b[0][None] * jnp.arange(3.0)[None]),
    'div': (lambda t, a, b: 1.0 / a / (b * b + 1.0), lambda a, b: 1 / a / (b * b + 1)),
    'matmul': (lambda t, a, b: (a @ b.T) @ (np.eye(2) @ a), lambda a, b: (a @ b.T) @ a),
    'matmul with vectors': (lambda t, a, b: t.reshape(a @ b[0], shape=(2, 1)) * (b[:, 0] @ b),
                            lambda a, b: (a @ b[0])[:, None] * (b[:, 0] @ b)[None]),
    'matmul of stacks': (lambda t, a, b: t.reshape(a, shape=(2, 1, 3)) @ t.reshape(b, shape=(2, 3, 1)),
                         lambda a, b: a.reshape(2, 1, 3) @ b.reshape(2, 3, 1)),
    'exp log': (lambda t, a, b: t.log(t.exp(a) + 1.0) * t.exp(-b), lambda a, b: jnp.log(jnp.exp(a) + 1) * jnp.exp(-b)),
    'sin cos': (lambda t, a, b: t.sin(a) * t.cos(b), lambda a, b: jnp.sin(a) * jnp.cos(b)),
    'tanh sqrt': (lambda t, a, b: t.tanh(a) * t.sqrt(b * b + 1.0), lambda a, b: jnp.tanh(a) * jnp.sqrt(b * b + 1)),
    'power': (lambda t, a, b: a**3 + (b * b)**0.5, lambda a, b: a**3 + (b * b)**0.5),
    'maximum': (lambda t, a, b: t.maximum(a, b) * a + t.maximum(a, a), lambda a, b: jnp.maximum(a, b) * a + a),
    'where': (lambda t, a, b: t.where(a * b, b, mask=np.arange(3) > 0), lambda a, b: jnp.where(
        (jnp.arange(3) > 0)[None], a * b, b)),
    'sums': (lambda t, a, b: t.sum(a * b, axis=0) * t.mean(b, axis=1)[:1] + t.sum(a, axis=1, keepdims=True),
             lambda a, b: (jnp.sum(a * b, 0) * jnp.mean(b, 1)[:1])[None] + jnp.sum(a, 1, keepdims=True)),
    'transpose': (lambda t, a, b: t.transpose(a, axes=(1, 0)) * b.T[:, ::-1], lambda a, b: a.T * b.T[:, ::-1]),
    'take': (lambda t, a, b: a[np.array([0, 1, 1, 0]), np.array([2, 2, 2, 0])] * b[1, 1],
             lambda a, b: a[np.array([0, 1, 1, 0]), np.array([2, 2, 2, 0])] * b[1, 1]),
    'logsumexp': (lambda t, a, b: t.logsumexp(500.0 * a * b), lambda a, b: jax.nn.logsumexp(500 * a * b, axis=-1)),
}


@pytest.mark.parametrize('name', OPERATIONS)
def test_tape_has_the_gradients_of_jax(name):
    """First and second order: the second goes through the rules of the first."""
    ours, theirs = OPERATIONS[name]
    x = (RNG.normal(size=(2, 3)) + 2, RNG.normal(size=(2, 3)))
    jax_fn = lambda x: jnp.sum(jnp.sin(jnp.asarray(theirs(*x))))
    tape_fn = lambda x: tape.sum(tape.sin(ours(tape, *x)))
    with jax.numpy_rank_promotion('allow'):
        slopes, curve = jax.grad(jax_fn)(x), hvp(jax_fn, x, v=x)
    for a, b in zip(tape.grad(tape_fn)(x), slopes):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    along = lambda y: sum(tape.sum(g * v) for g, v in zip(tape.grad(tape_fn)(y), x))
    for a, b in zip(tape.grad(along)(x), curve):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-8)


def test_tape_by_itself():
    source = inspect.getsource(tape)
    code = [line for line in source.splitlines() if line.strip() and not line.strip().startswith(('#', '"""'))]
    assert 'jax.grad' not in source.replace('`jax.grad`', '') and 'jvp' not in source and len(code) < 220
    # a perturbation inside another: the inner derivative must not see the outer variable's slope
    assert tape.grad(lambda x: x * tape.grad(lambda y: x + y)(1.0))(2.0) == 1
    assert tape.grad(lambda x: x * tape.grad(lambda y: x * y)(x))(3.0) == 6     # even at the outer variable itself
    assert tape.grad(tape.grad(tape.grad(lambda x: x**4)))(2.0) == 48
    assert tape.grad(lambda x: 3.0)(1.0) == 0 and tape.grad(lambda p: p['a'] * 2.0)({'a': 1.0, 'b': 5.0})['b'] == 0
    cubed = tape.primitive(lambda g, y, a: (3.0 * a * a * g,))(lambda a: a**3)      # a rule of one's own
    assert tape.grad(cubed)(2.0) == 12 and tape.grad(tape.grad(cubed))(2.0) == 12
    with pytest.raises(ValueError, match='fn: expected a function that gives one number'):
        tape.grad(lambda x: x)(np.ones(2))
    assert tape.grad(lambda x: x * x)(3.0) == 6     # the error before left no depth behind: a number, not a Var
    deep = tape.grad(lambda x: functools.reduce(lambda y, _: tape.sin(y), range(3000), x))(1.0)     # no recursion
    assert np.isfinite(deep)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=4, max_size=4))
def test_chains_and_parts(point):
    x = jnp.asarray(point)
    W = jnp.asarray(RNG.normal(size=(3, 4)))
    fns = [jnp.sin, lambda x: W @ x, jnp.tanh, lambda x: jnp.sum(x, keepdims=True)]
    whole = lambda x: fns[3](fns[2](fns[1](fns[0](x))))
    for order, count in (('forward', 48 + 36 + 12), ('reverse', 9 + 12 + 16)):
        found = chain_rule(fns, x, order=order)
        np.testing.assert_allclose(found.jacobian, jax.jacrev(whole)(x), atol=1e-13)
        assert found.multiplications == count and found.value == whole(x)
    inner = lambda x: jnp.tanh(W @ x) * x[0]
    assert jnp.array_equal(jacobian_columns(inner, x), jax.jacfwd(inner)(x))
    np.testing.assert_allclose(partial_derivative(inner, x, index=-1), jax.jacfwd(inner)(x)[:, 3], atol=1e-14)
    second = jax.jacfwd(jax.jacfwd(inner))(x)[:, 0, 0]
    np.testing.assert_allclose(partial_derivative(inner, x, index=0, order=2), second, atol=1e-13)
    f, u = lambda t, u, w: jnp.sin(t * u[0]) * w + u[1], [lambda t: jnp.stack([t, t**2]), jnp.cos]
    found = total_derivative(f, u, x[0])
    np.testing.assert_allclose(found.total, jax.grad(lambda t: f(t, *(g(t) for g in u)))(x[0]), atol=1e-13)
    np.testing.assert_allclose(found.direct, jax.grad(f)(x[0], *(g(x[0]) for g in u)), atol=1e-13)


def test_rules_of_ones_own():
    check_grads(log1pexp, (jnp.array([-3.0, 0.3, 4.0]),), 2, modes=['rev'], atol=1e-6, rtol=1e-6)
    with pytest.raises(ValueError, match='limit: expected a number above 0'):
        jax.grad(lambda x: clip_gradient(x, 0.0))(1.0)


def test_fixed_points_keep_their_bounds():
    """Stopped early at all sorts of places, the error is within the bound, and the bound is of the error's size."""
    rng = np.random.default_rng(0)
    W = jnp.asarray(0.8 * np.linalg.qr(rng.normal(size=(3, 3)))[0])
    linear, bent = lambda b, x: W @ x + b, lambda b, x: jnp.tanh(W @ x) + b
    b = jnp.asarray(rng.normal(size=3))
    for fn, known in ((linear, None), (bent, 0.8)):
        exact = fixed_point(fn, b, jnp.zeros(3))
        slopes_at = jax.jit(lambda x, fn=fn: implicit_gradient(fn, b, x, u=jnp.ones(3)))
        best = slopes_at(exact.x)
        assert exact.converged and exact.rate <= 0.8 + 1e-12 and best.bound < 1e-12
        for steps in (1, 3, 30):
            found = fixed_point(fn, b, jnp.zeros(3), max_steps=steps, lipschitz=known)
            error = jnp.linalg.norm(found.x - exact.x)
            assert not found.converged and found.steps == steps and error <= found.bound <= 20 * error
            if steps >= 3:      # this bound is of first order: not from the first steps on
                slopes = slopes_at(found.x)
                assert jnp.linalg.norm(slopes.gradient - best.gradient) <= slopes.bound + best.bound
    away = fixed_point(lambda b, x: 2 * x + b, b, jnp.ones(3), max_steps=5)
    assert not away.converged and jnp.isinf(away.bound)
    two = fixed_point(lambda a, x: {'p': 0.5 * x['q'] + a, 'q': 0.5 * x['p']}, 1.0, {'p': 0.0, 'q': jnp.zeros(())})
    assert np.isclose(two.x['p'], 4 / 3) and np.isclose(two.x['q'], 2 / 3)


def test_fixed_points_of_many_unknowns():
    """Beyond 256 the rate comes from a power iteration, which must find what the matrix has."""
    d = jnp.linspace(0.1, 0.7, 300)
    found = fixed_point(lambda b, x: d * x + b, jnp.ones(300), jnp.zeros(300), tol=1e-8)
    assert abs(found.rate - 0.7) < 0.01
    assert jnp.linalg.norm(found.x - 1 / (1 - d)) < 1.1 * found.bound < 1e-4


def test_fixed_points_have_derivatives_of_order_two():
    root = lambda a: fixed_point(lambda a, x: a[0] * jnp.cos(x) + a[1], a, jnp.asarray(0.5)).x
    a = jnp.array([0.5, 0.1])
    check_grads(jax.jit(root), (a,), 2, modes=['rev'], atol=1e-6, rtol=1e-6)
    vmapped = jax.vmap(jax.grad(root))(jnp.stack([a, 0.5 * a]))
    np.testing.assert_allclose(vmapped[1], jax.grad(root)(0.5 * a), atol=1e-12)
    loop = jax.make_jaxpr(jax.grad(root))(a)
    assert 'scan' not in {e.primitive.name for e in loop.eqns}      # nothing is stored step by step


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: derivative(jnp.sin, jnp.ones(2), method='exact'), 'method: expected one of forward'),
    (lambda: derivative(jnp.sin, jnp.arange(2)), 'x: expected floating point numbers'),
    (lambda: derivative(jnp.sum, jnp.ones(2)), r'fn: expected a function \[\*shape\]'),
    (lambda: derivative(jnp.sin, jnp.ones(2), method='central', step=0.0), 'step: expected a number above 0'),
    (lambda: gradient(jnp.sin, jnp.ones(2)), r'fn: expected a function that gives one number, found \(2,\)'),
    (lambda: gradient(jnp.sum, {}), 'x: expected floating point leaves, found none'),
    (lambda: hvp(jnp.sum, jnp.ones(2), v=jnp.ones(3)), 'v: expected the tree and the shapes'),
    (lambda: jacobian(jnp.sin, jnp.ones(2), mode='both'), 'mode: expected one of auto'),
    (lambda: chain_rule([], jnp.ones(2)), 'fns: expected at least one'),
    (lambda: chain_rule([jnp.sum], jnp.ones(2)), 'fns: expected vectors'),
    (lambda: partial_derivative(jnp.sum, jnp.ones(2), index=2), 'index: expected -2 to 1, found 2'),
    (lambda: jacobian_columns(jnp.sum, jnp.ones((2, 2))), r'x: expected \[n\]'),
    (lambda: total_derivative(jnp.sin, [], jnp.ones(2)), 't: expected one floating point number'),
    (lambda: fixed_point(lambda a, x: x[:1], 1.0, jnp.ones(2)), 'fn: expected as many numbers as start has, 2'),
    (lambda: fixed_point(lambda a, x: x, 1.0, jnp.ones(2), tol=0.0), 'tol: expected 0 < tol < 1'),
    (lambda: implicit_gradient(lambda a, x: a * x, 0.5, jnp.ones(2), u=jnp.ones(3)), 'u: expected 2 numbers'),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert '\n' not in str(caught.value)
