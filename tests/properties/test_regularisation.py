"""Weight decay coupled and decoupled, a limit on norms, and early stopping that gives back the best."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from sklearn.linear_model import Ridge

from common import data, loop, strategies, tasks, trees
from common.checkpoint import Checkpoints
from common.task import solve, start, train_fn
from levels.level2_neural import early_stopping as stop_lib
from levels.level2_neural import regularisation as lib
from levels.level2_neural.dnn import DNN
from levels.level2_neural.mlp import MLP

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PARAMS = {'dense': {'kernel': jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), 'bias': jnp.ones(2)}}
GRADS = [jax.tree.map(lambda p: jnp.asarray(RNG.normal(size=p.shape), jnp.float32), PARAMS) for _ in range(6)]


def run(tx, params=PARAMS):
    state = tx.init(params)
    for grads in GRADS:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return params


def torch_run(make):
    kernel, bias = (torch.tensor(np.asarray(PARAMS['dense'][k]), requires_grad=True) for k in ('kernel', 'bias'))
    optimiser = make(kernel, bias)
    for grads in GRADS:
        kernel.grad, bias.grad = (torch.tensor(np.asarray(grads['dense'][k])) for k in ('kernel', 'bias'))
        optimiser.step()
    return {'dense': {'kernel': kernel.detach().numpy(), 'bias': bias.detach().numpy()}}


def close(a, b, tol=2e-6):
    return all(np.abs(x - y).max() < tol for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def groups(make, **kwargs):
    part = lambda leaf, decay: {'params': [leaf], 'weight_decay': decay}
    return lambda kernel, bias: make([part(kernel, 0.3), part(bias, 0.0)], **kwargs)


def test_l2_is_torch_s_adam_and_decay_its_adamw():
    l2 = run(lib.with_l2(optax.adam(0.05), 0.3))
    decay = run(lib.with_decay(optax.adam(0.05), 0.05, 0.3))
    assert close(l2, torch_run(groups(torch.optim.Adam, lr=0.05)))
    assert close(decay, torch_run(groups(torch.optim.AdamW, lr=0.05)))
    assert not close(l2, decay, 1e-2) and not close(decay, run(optax.adam(0.05)), 1e-2)


def test_for_gradient_descent_both_are_one():
    assert close(run(lib.with_l2(optax.sgd(0.05), 0.3)), run(lib.with_decay(optax.sgd(0.05), 0.05, 0.3)))
    schedule = optax.linear_schedule(0.1, 0.0, 6)
    assert close(run(lib.with_l2(optax.sgd(schedule), 0.3)), run(lib.with_decay(optax.sgd(schedule), schedule, 0.3)))


def test_an_adaptive_step_undoes_l2_and_not_decay():
    """A weight with large gradients of changing sign: Adam divides the penalty by their size, the decay stays."""
    def final(tx):
        w, state = {'kernel': jnp.ones((1, 1))}, None
        state = tx.init(w)
        for i in range(100):
            updates, state = tx.update({'kernel': jnp.full((1, 1), 100.0 * (-1) ** i)}, state, w)
            w = optax.apply_updates(w, updates)
        return float(w['kernel'][0, 0])
    none, l2, decay = (final(tx) for tx in (optax.adam(1e-3), lib.with_l2(optax.adam(1e-3), 1.0),
                                            lib.with_decay(optax.adam(1e-3), 1e-3, 1.0)))
    assert abs(l2 - none) < 2e-3 and abs(decay - none - (0.999**100 - 1)) < 5e-3


def test_l2_of_a_linear_model_is_ridge():
    x, y = RNG.normal(size=(40, 5)), RNG.normal(size=40)
    strength = 0.2
    tx = lib.with_l2(optax.sgd(0.1), strength)
    loss = lambda p: jnp.mean((x @ p['kernel'] + p['bias'][None] - y[:, None])**2) / 2

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None
    with jax.enable_x64(True):
        params = {'kernel': jnp.zeros((5, 1)), 'bias': jnp.zeros(1)}
        (params, _), _ = jax.lax.scan(step, (params, tx.init(params)), length=2000)
        ridge = Ridge(alpha=strength * len(y)).fit(x, y)
        assert np.abs(params['kernel'][:, 0] - ridge.coef_).max() < 1e-10


def test_strengths_may_be_traced():
    many = jax.vmap(lambda s: run(lib.with_decay(optax.sgd(0.05), 0.05, s)))(jnp.array([0.0, 0.3]))
    one = run(lib.with_decay(optax.sgd(0.05), 0.05, 0.3))
    assert close(jax.tree.map(lambda v: v[1], many), one) and close(jax.tree.map(lambda v: v[0], many),
                                                                     run(optax.sgd(0.05)))


def test_what_decays_in_a_stacked_network():
    params = DNN(width=4, depth=3, n_out=2, norm='layer').init(KEY, jnp.ones((1, 3)))['params']
    chosen = trees.named_leaves(lib.kernels(params))
    assert {k for k, v in chosen.items() if v} == {'first/kernel', 'last/kernel', 'layers/dense/kernel'}


def test_max_norm():
    """Torch's renorm of the columns after each step; each layer of a stack by itself."""
    limit, params = 0.8, jax.tree.map(lambda p: p, PARAMS)
    tx = lib.with_max_norm(optax.sgd(0.3), limit)
    state, expected = tx.init(params), torch.tensor(np.asarray(PARAMS['dense']['kernel']))
    for grads in GRADS:
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        expected = torch.renorm(expected - 0.3 * torch.tensor(np.asarray(grads['dense']['kernel'])), 2, 1, limit)
    assert np.abs(params['dense']['kernel'] - expected.numpy()).max() < 1e-6
    assert close(params['dense']['bias'], run(optax.sgd(0.3))['dense']['bias'])
    kernel = jnp.asarray(RNG.normal(size=(3, 4, 2)), jnp.float32) * jnp.array([0.01, 1, 100])[:, None, None]
    for name, one in (('layers', lambda v: np.sqrt((v**2).sum(1))), ('conv', lambda v: np.sqrt((v**2).sum((0, 1))))):
        tree = {name: {'kernel': kernel}}
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, tree), tx.init(tree), tree)
        norms = one(np.asarray(optax.apply_updates(tree, updates)[name]['kernel']))
        assert norms.max() < limit * 1.0001
        assert np.allclose(norms, np.minimum(one(np.asarray(kernel)), limit), rtol=1e-4)


def test_bad_input_is_one_line():
    for call, message in ((lambda: lib.with_l2(optax.sgd(1.0), -1.0), 'strength: expected'),
                          (lambda: lib.with_decay(optax.sgd(1.0), 1.0, -1.0), 'strength: expected'),
                          (lambda: lib.with_max_norm(optax.sgd(1.0), 0.0), 'limit: expected')):
        with pytest.raises(ValueError, match=f'^{message}'):
            call()


# Early stopping, on 20 noisy rows that a network of this size learns by heart.

def rows(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 8)).astype(np.float32)
    return {'x': x, 'y': (x[:, 0] + 0.7 * rng.normal(size=n)).astype(np.float32)}


TRAIN, VALID = rows(20, 0), rows(200, 1)
INNER = tasks.regressor(MLP((64,), 1, kind='regression'), optax.adam(3e-3))
EVERY, PATIENCE, STEPS = 10, 4, 400
TASK = stop_lib.with_early_stopping(INNER, every=EVERY, patience=PATIENCE)
SOURCE = stop_lib.with_validation(data.resident(TRAIN, data.Order(20, 8)), VALID)
RUN = functools.partial(loop.fit, TASK, SOURCE, key=KEY, steps_per_call=10)


@pytest.fixture(scope='module')
def stopped():
    return trees.to_host(RUN(steps=STEPS).carry).state


@pytest.fixture(scope='module')
def by_hand():
    """The same run without the wrapper: parameters and validation losses at every evaluation."""
    seen = []
    score = jax.jit(lambda state: INNER.evaluate(KEY, state, VALID)['loss'].value)
    look = lambda step, carry: seen.append((step, trees.to_host(carry.state.params), float(score(carry.state))))
    loop.fit(INNER, data.resident(TRAIN, data.Order(20, 8)), steps=STEPS, key=KEY, steps_per_call=10,
             hooks=[loop.Hook(EVERY, look)])
    return seen


def test_it_stops_where_patience_ends_and_keeps_the_best(stopped, by_hand):
    losses = np.array([loss for _, _, loss in by_hand])
    best, at = np.inf, 0
    for i, loss in enumerate(losses):
        best, at = (loss, i) if loss < best else (best, at)
        if i - at == PATIENCE:
            break
    assert 2 < i < len(losses) - 1 and losses[-1] > 1.05 * best, 'the case must overfit, and stop in between'
    assert stopped.stopped and int(stopped.steps) == EVERY * (i + 1) and int(stopped.best_step) == EVERY * (at + 1)
    assert abs(float(stopped.best_value) - best) < 1e-6
    assert close(stopped.best.params, by_hand[at][1], 1e-6) and close(stopped.inner.params, by_hand[i][1], 1e-6)
    value = TASK.evaluate(KEY, jax.tree.map(jnp.asarray, stopped), VALID)['loss'].value
    assert abs(float(value) - best) < 1e-6, 'evaluation is of the best state'


def test_a_stopped_run_changes_nothing_more(stopped):
    assert trees.sha256(trees.to_host(RUN(steps=STEPS + 50).carry).state) == trees.sha256(stopped)


def test_resumed_in_the_middle_it_ends_with_the_same_bits(stopped, tmp_path):
    RUN(steps=60, checkpoints=Checkpoints(tmp_path), checkpoint_every=30)
    again = RUN(steps=STEPS, checkpoints=Checkpoints(tmp_path), checkpoint_every=100)
    assert trees.sha256(trees.to_host(again.carry).state) == trees.sha256(stopped)


def test_solve_ends_with_the_stop(stopped):
    """One whole batch: fewer steps than allowed, and the best is given back."""
    batch = {**TRAIN, stop_lib.FIELD: VALID}
    found = jax.jit(lambda key: solve(TASK, key, batch, max_steps=STEPS, done=stop_lib.stopped))(KEY)
    assert found.converged and int(found.steps) == int(found.state.steps) < STEPS
    assert int(found.state.steps) - int(found.state.best_step) == EVERY * PATIENCE


def test_each_seed_stops_by_itself():
    run_ = jax.jit(jax.vmap(train_fn(TASK, 300), (0, None)))
    state = run_(jax.random.split(KEY, 4), {**TRAIN, stop_lib.FIELD: VALID})[0].state
    assert len(np.unique(state.steps)) > 1 and (state.steps <= 300).all()


def test_a_metric_that_is_better_when_higher_and_min_delta():
    noise = tasks.regressor(MLP((4,), 1, kind='regression'), optax.sgd(0.0))
    batch = {**TRAIN, stop_lib.FIELD: VALID}
    for better in ('lower', 'higher'):     # nothing changes: the first evaluation is the best, then patience runs out
        task = stop_lib.with_early_stopping(noise, every=2, patience=3, better=better)
        state = jax.jit(train_fn(task, 20))(KEY, batch)[0].state
        assert (int(state.best_step), int(state.steps)) == (2, 8) and np.isfinite(state.best_value)
    huge = stop_lib.with_early_stopping(INNER, every=2, patience=3, min_delta=100.0)
    assert int(jax.jit(train_fn(huge, 20))(KEY, batch)[0].state.best_step) == 2


def test_replicas_agree(stopped):
    fitted = loop.fit(TASK, SOURCE, steps=60, key=KEY, steps_per_call=10, strategy=strategies.pmap(devices=2))
    one = loop.fit(TASK, SOURCE, steps=60, key=KEY, steps_per_call=10)
    a, b = (trees.to_host(f.carry).state for f in (fitted, one))
    assert int(a.best_step) == int(b.best_step) and abs(a.best_value - b.best_value) < 1e-5


def test_wrong_use_is_one_line():
    for kwargs, message in (({'every': 0, 'patience': 1}, 'every: expected'), ({'every': 1, 'patience': 0}, 'patience'),
                            ({'every': 1, 'patience': 1, 'better': 'x'}, 'better, min_delta: expected')):
        with pytest.raises(ValueError, match=f'^{message}'):
            stop_lib.with_early_stopping(INNER, **kwargs)
    with pytest.raises(ValueError, match=r"^batch: expected 'validation' in it"):
        start(TASK, KEY, TRAIN)
