"""The laws of every optimiser in the catalogue.  A new optimiser must add its case here, or the count fails."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from levels.catalogue import load, members

STEPS = 50


class Case(NamedTuple):
    """Variants of a member with the peer in optax; what reaches the ends of the two valleys; what is refused."""

    variants: list[tuple[dict[str, Any], Callable]]     # keywords, rate -> optax's
    parabola: tuple[dict[str, Any], Any, int]           # keywords, rate or schedule, steps
    rosenbrock: tuple[dict[str, Any], Any, int]
    refused: list[tuple[dict[str, Any], str]]


def halving(start, every):
    """A schedule: start, and half of it after each `every` updates."""
    return lambda count: start * 0.5 ** (count / every)


ADAM = [({'b1': 1.0}, 'b1: expected'), ({'b2': -0.1}, 'b2: expected'), ({'eps': -1.0}, 'eps: expected')]
MASK = {'kernel': True, 'bias': False}
CASES = {
    'sgd': Case(
        [({}, optax.sgd),
         ({'momentum': 0.9}, lambda r: optax.sgd(r, 0.9)),
         ({'momentum': 0.9, 'nesterov': True}, lambda r: optax.sgd(r, 0.9, nesterov=True))],
        ({'momentum': 0.5}, 0.1, 1000), ({'momentum': 0.9, 'nesterov': True}, 1e-3, 5000),
        [({'momentum': 1.0}, 'momentum: expected'), ({'nesterov': True}, 'nesterov: expected momentum')]),
    'adam': Case(
        [({}, optax.adam), ({'b1': 0.0, 'b2': 0.9, 'eps': 1e-3}, lambda r: optax.adam(r, 0.0, 0.9, 1e-3))],
        ({}, halving(0.1, 100), 2000), ({}, halving(0.05, 1000), 10_000), ADAM),
    'adamw': Case(
        [({}, lambda r: optax.adamw(r, weight_decay=1e-2)),
         ({'weight_decay': 0.3, 'mask': MASK}, lambda r: optax.adamw(r, weight_decay=0.3, mask=MASK)),
         ({'weight_decay': 0.0, 'b2': 0.95}, lambda r: optax.adamw(r, b2=0.95, weight_decay=0.0))],
        ({'weight_decay': 0.0}, halving(0.1, 100), 2000), ({'weight_decay': 0.0}, halving(0.05, 1000), 10_000),
        [*ADAM, ({'weight_decay': -1.0}, 'weight_decay: expected')]),
    'rmsprop': Case(
        [({'eps_in_sqrt': True}, optax.rmsprop),
         ({'decay': 0.99}, lambda r: optax.rmsprop(r, 0.99, eps_in_sqrt=False)),
         ({'centered': True, 'momentum': 0.8}, lambda r: optax.rmsprop(
             r, eps_in_sqrt=False, centered=True, momentum=0.8)),
         ({'momentum': 0.8, 'nesterov': True}, lambda r: optax.rmsprop(
             r, eps_in_sqrt=False, momentum=0.8, nesterov=True))],
        ({}, halving(0.1, 50), 2000), ({}, halving(0.05, 1000), 10_000),
        [({'decay': 1.0}, 'decay: expected'), ({'momentum': 2.0}, 'momentum: expected'),
         ({'nesterov': True}, 'nesterov: expected momentum'), ({'eps': -1.0}, 'eps: expected')]),
}


def start(dtype=jnp.float64):
    return {'kernel': jnp.asarray([[-1.2, 1.0], [0.3, 2.0]], dtype), 'bias': jnp.asarray([0.5, -0.7], dtype)}


def rosenbrock(p):
    """(1, 1) is where it is 0."""
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def bumpy(p):
    """A loss of the tree of `start` with gradients of both signs and many sizes."""
    return jnp.sum(p['kernel'] ** 2) + jnp.sum(jnp.sin(p['kernel'] @ p['bias'])) + jnp.sum(p['bias'] ** 4) / 4


def descend(tx, loss, params, steps):
    """(the parameters after every step, the last state)."""
    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    (_, state), path = jax.lax.scan(step, (params, tx.init(params)), length=steps)
    return path, state


def largest(ours, theirs):
    return max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)))


def equals_optax(row):
    """The whole path of 50 steps to 1e-12 in float64, with a constant rate and with a schedule; in float32 to 2e-5."""
    with jax.enable_x64(True):
        for keywords, peer in CASES[row.name].variants:
            for rate in (0.002, halving(0.05, 10)):       # a larger constant one makes RMSprop chaotic near the end
                ways = jax.jit(lambda p, ours=load(row)(rate, **keywords), theirs=peer(rate): (
                    descend(ours, bumpy, p, STEPS)[0], descend(theirs, bumpy, p, STEPS)[0]))
                assert largest(*ways(start())) < 1e-12
                ours, theirs = ways(start(jnp.float32))
                assert largest(ours, theirs) < 2e-5
                assert {x.dtype for x in jax.tree.leaves(ours)} == {jnp.dtype('float32')}
                assert largest(ours, jax.tree.map(lambda x: np.asarray(x[:1]), ours)) > 0.05, 'nothing moved'


def parabola(row):
    """100 times steeper one way than the other."""
    keywords, rate, steps = CASES[row.name].parabola
    hill = lambda p: 0.5 * jnp.sum(jnp.array([0.1, 10.0]) * (p - 1) ** 2)
    path, state = jax.jit(lambda p: descend(load(row)(rate, **keywords), hill, p, steps))(jnp.array([-2.0, 3.0]))
    assert np.abs(np.asarray(path[-1]) - 1).max() < 1e-3 and int(state.count) == steps


def rosenbrock_s_valley(row):
    keywords, rate, steps = CASES[row.name].rosenbrock
    run = jax.jit(lambda p: descend(load(row)(rate, **keywords), rosenbrock, p, steps)[0][-1])
    assert np.abs(np.asarray(run(jnp.array([-1.2, 1.0]))) - 1).max() < 1e-2


def vmap_over_rates(row):
    """One program for many rates: the paths that each rate has alone."""
    rates = (0.0, 0.01, 0.03)
    keywords = CASES[row.name].variants[-1][0]
    run = lambda rate: descend(load(row)(rate, **keywords), bumpy, start(jnp.float32), 10)[0]
    together = jax.jit(jax.vmap(run))(jnp.asarray(rates))
    alone = jax.jit(lambda: [run(r) for r in rates])()
    for i, path in enumerate(alone):
        assert largest(jax.tree.map(lambda x, i=i: x[i], together), path) < 1e-6
    assert largest(together['bias'][0], np.asarray(start(jnp.float32)['bias'])[None]) < 1e-7, 'rate 0 stays'
    assert largest(alone[1], alone[2]) > 1e-2


def one_trace(row):
    """A state has the same form after every update, its numbers are arrays, and no step compiles again."""
    for keywords, _ in CASES[row.name].variants:
        tx, traces = load(row)(halving(0.1, 3), **keywords), []

        @jax.jit
        def step(params, state, tx=tx, traces=traces):
            traces.append(1)
            updates, state = tx.update(jax.tree.map(jnp.cos, params), state, params)
            return optax.apply_updates(params, updates), state

        params = {k: x.astype(t) for (k, x), t in zip(start(jnp.float32).items(), (jnp.float32, jnp.bfloat16))}
        state = jax.jit(tx.init)(params)
        form = jax.tree.map(lambda x: (x.shape, x.dtype), (params, state))
        for _ in range(3):
            params, state = step(params, state)
        assert jax.tree.map(lambda x: (x.shape, x.dtype), (params, state)) == form
        assert len(traces) == 1 and int(state.count) == 3


def form(row):
    """An optax transformation that can be chained; keywords behind the rate; what is refused is said in one line."""
    make = load(row)
    kinds = [p.kind for p in inspect.signature(make).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD and set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}
    assert isinstance(make(0.1), optax.GradientTransformation)
    chain = optax.chain(optax.clip_by_global_norm(1.0), make(0.1))
    params = start(jnp.float32)
    updates, _ = jax.eval_shape(lambda p: chain.update(p, chain.init(p), p), params)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)
    late = make(0.1).init(params)._replace(count=jnp.int32(2**31 - 1))
    assert int(jax.jit(make(0.1).update)(params, late, params)[1].count) == 2**31 - 1, 'a count never turns negative'
    refused = [({'learning_rate': -1.0}, 'learning_rate: expected'), ({'learning_rate': jnp.nan}, 'learning_rate: '),
               *CASES[row.name].refused]
    for keywords, message in refused:
        with pytest.raises(ValueError, match=message) as error:
            functools.partial(make, **{'learning_rate': 0.1} | keywords)()
        assert '\n' not in str(error.value)
    if row.name == 'adamw':
        with pytest.raises(ValueError, match='params: expected the parameters, which decay; found None'):
            make(0.1).update(params, make(0.1).init(params))


LAWS = (equals_optax, parabola, rosenbrock_s_valley, vmap_over_rates, one_trace, form)
PAIRS = [(row, law) for row in members(kind='optimiser') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='optimiser')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 24
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
