"""The perceptron against scikit-learn's, update for update; the average and the pocket against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn.linear_model import Perceptron as Peer

from levels.level2_neural.perceptron import KEEP, perceptron

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4))
TWO = (X @ [1.0, -2.0, 0.5, 1.0] + 0.7 * RNG.normal(size=60) > 0).astype(int)       # classes that overlap
THREE = (np.argmax(X[:, :3] + 0.5 * RNG.normal(size=(60, 3)), 1)).astype(int)
WEIGHT = np.arange(60) % 3.0


@pytest.mark.parametrize(('y', 'classes'), [(TWO, 2), (THREE, 3)])
@pytest.mark.parametrize('intercept', [True, False])
def test_the_same_updates_in_the_same_order(y, classes, intercept):
    with jax.enable_x64(True):
        run = jax.jit(lambda n, x, y: perceptron(n_classes=classes, rate=0.3, fit_intercept=intercept,
                                                 max_iter=n).fit(KEY, x, y))
        for epochs in (1, 2, 7):
            peer = Peer(shuffle=False, tol=None, max_iter=epochs, eta0=0.3, fit_intercept=intercept).fit(X, y)
            state = run(epochs, X, y)
            compare('perceptron', 'sklearn.linear_model.Perceptron',
                    f'planes, f64, {classes} classes, {epochs} epochs, {"with" if intercept else "no"} intercept',
                    (state.coef.T, state.intercept), (peer.coef_, peer.intercept_ + np.zeros(len(peer.coef_))), 1e-12)
            assert state.steps == epochs and not state.converged
            assert (perceptron(n_classes=classes).predict(state, X) == peer.predict(X)).all()


def by_hand(x, y, weight, epochs):
    """(last, average, pocket, mistakes) of two classes, by a loop over visits."""
    z, s = np.concatenate([x, np.ones((len(x), 1))], 1), 2 * y - 1
    w, total, seen, best, pocket, mistakes = np.zeros(z.shape[1]), 0, 0, 0, np.zeros(z.shape[1]), 0
    for _ in range(epochs):
        for i in np.repeat(np.arange(len(z)), weight.astype(int)):
            if s[i] * (z[i] @ w) <= 0:
                w, mistakes = w + s[i] * z[i], mistakes + 1
                right = weight[s * (z @ w) > 0].sum()
                if right > best:
                    best, pocket = right, w
            total, seen = total + w, seen + 1
    return {'last': w, 'average': total / seen, 'pocket': pocket}, mistakes


@pytest.mark.parametrize('keep', KEEP)
def test_average_and_pocket_with_weights(keep):
    """Weights are visits one after another; f32 is close too."""
    for bits, gate in ((32, 1e-5), (64, 1e-12)):
        with jax.enable_x64(bits == 64):
            state = jax.jit(perceptron(keep=keep, max_iter=5).fit)(KEY, X.astype(f'float{bits}'), TWO, WEIGHT)
            want, mistakes = by_hand(X, TWO, WEIGHT, 5)
            plane = np.append(state.coef[:, 0], state.intercept)
            compare('perceptron', 'a loop over visits in NumPy', f'plane, f{bits}, {keep}', plane, want[keep], gate)
            assert state.mistakes[0] == mistakes
            twice = np.repeat(np.arange(60), WEIGHT.astype(int))
            again = jax.jit(perceptron(keep=keep, max_iter=5).fit)(KEY, X[twice].astype(f'float{bits}'), TWO[twice])
            assert np.allclose(again.coef, state.coef, atol=gate) and again.mistakes[0] == mistakes


def test_the_pocket_is_never_worse_and_the_average_is_calmer():
    """On classes that overlap the last plane is a matter of luck."""
    fits = {keep: jax.jit(perceptron(keep=keep, max_iter=50).fit)(KEY, X.astype('float32'), TWO) for keep in KEEP}
    right = {keep: float(perceptron().score(state, X.astype('float32'), TWO)) for keep, state in fits.items()}
    assert right['pocket'] >= max(right.values()) and right['pocket'] > right['last']
    assert np.array_equal(fits['pocket'].last, fits['last'].coef) and not fits['last'].converged


@pytest.mark.parametrize('intercept', [False, True])
def test_the_mistake_bound_holds_on_separable_data(intercept):
    """Novikoff: rows of length R at most, a plane of length 1 with margin gamma: at most (R / gamma)^2 mistakes, in any
    order of the rows. Many problems in one program."""
    rng = np.random.default_rng(1)
    problems, n, d = 40, 50, 5
    ones = np.ones((problems, n, 1)) if intercept else np.zeros((problems, n, 0))
    z = np.concatenate([rng.normal(size=(problems, n, d)), ones], 2)
    plane = rng.normal(size=(problems, z.shape[2]))
    plane /= np.linalg.norm(plane, axis=1, keepdims=True)
    gaps = rng.uniform(0.02, 0.4, (problems, 1))
    side = np.sign(np.einsum('pnd,pd->pn', z, plane))
    # rows too near the plane are pushed away from it, along the features alone
    push = plane[:, :d] / np.sum(plane[:, :d] ** 2, 1, keepdims=True)
    short = np.maximum(gaps - side * np.einsum('pnd,pd->pn', z, plane), 0)
    z[..., :d] += (side * short)[..., None] * push[:, None]
    margin = (side * np.einsum('pnd,pd->pn', z, plane)).min(1)
    bound = (np.linalg.norm(z, axis=2).max(1) / margin) ** 2
    fit = perceptron(shuffle=True, fit_intercept=intercept, max_iter=100_000).fit
    states = jax.jit(jax.vmap(fit))(jax.random.split(KEY, problems), jnp.float32(z[..., :d]), jnp.int32(side > 0))
    mistakes = np.asarray(states.mistakes[:, 0])
    assert states.converged.all() and (margin >= gaps[:, 0] - 1e-9).all()
    assert (mistakes <= bound).all() and mistakes.min() >= 1
    assert (mistakes > 0.01 * bound).mean() > 0.5          # the bound is no idle one: it is of the size of the mistakes
    # and without separation there is none: the same rows, one of them with its side turned round
    turned = np.concatenate([z, z[:, :1]], 1)[..., :d], np.concatenate([side, -side[:, :1]], 1) > 0
    fit = perceptron(fit_intercept=intercept, max_iter=20).fit
    assert not jax.jit(jax.vmap(fit))(jax.random.split(KEY, problems), jnp.float32(turned[0]),
                                      jnp.int32(turned[1])).converged.any()


def test_rate_changes_lengths_only_and_shuffling_is_a_matter_of_the_key():
    x = X.astype('float32')
    slow, fast = (jax.jit(perceptron(rate=rate, max_iter=4).fit)(KEY, x, TWO) for rate in (0.5, 2.0))
    assert np.array_equal(4 * slow.coef, fast.coef)
    run = jax.jit(perceptron(shuffle=True, max_iter=4).fit)
    a, b, c = run(KEY, x, TWO), run(KEY, x, TWO), run(jax.random.key(1), x, TWO)
    assert np.array_equal(a.coef, b.coef) and not np.array_equal(a.coef, c.coef)
    with pytest.raises(ValueError, match='keep: expected one of last, average, pocket'):
        perceptron(keep='best')
    with pytest.raises(ValueError, match='rate: expected above 0'):
        perceptron(rate=0.0)
