"""The laws of every recurrent cell in the catalogue.  A new cell must add its cases here, or the count fails."""

import functools
import inspect
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.catalogue import load, members
from levels.level4_sequence.unroll import bidirectional, unroll

BATCH, TIME, IN, F = 3, 4, 4, 3
LENGTHS = np.array([TIME, 2, 0])


class Case(NamedTuple):
    """A variant of a member, and its number of parameters counted by hand."""

    member: str
    fields: dict[str, Any]
    parameters: int


CASES = {
    'RNN': Case('RNN', {}, F * (IN + F + 1)),
    'GRU': Case('GRU', {}, 3 * F * (IN + F + 1) + F),
    'GRU, reset_before': Case('GRU', {'variant': 'reset_before'}, 3 * F * (IN + F + 1)),
    'LSTM': Case('LSTM', {}, 4 * F * (IN + F + 1)),
    'LSTM, peephole and projection': Case('LSTM', {'peephole': True, 'projection': 2},
                                          4 * F * (IN + 2 + 1) + 3 * F + F * 2),
}
ROWS = {row.name: row for row in members(kind='cell')}


def build(case, **fields):
    """The cell, its input, and parameters that are drawn: zeros and orthogonal matrices would hide mistakes."""
    cell = load(ROWS[case.member])(F, **case.fields | fields)
    xs = jnp.asarray(np.random.default_rng(0).normal(size=(BATCH, TIME, IN)), jnp.float32)
    shapes = jax.eval_shape(lambda key: cell.init(key, xs, method=unroll), jax.random.key(0))
    rng = np.random.default_rng(9)
    return cell, xs, jax.tree.map(lambda p: jnp.asarray(0.6 * rng.normal(size=p.shape), p.dtype), shapes)


def run(cell, params, xs, lengths=None, **kwargs):
    return cell.apply(params, xs, lengths, method=unroll, **kwargs)


def by_hand(cell, params, xs):
    """Step by step, through the cell's own call."""
    carry, ys = cell.initial_carry(xs.shape[0]), []
    for t in range(xs.shape[1]):
        carry, y = cell.apply(params, carry, xs[:, t])
        ys.append(y)
    return carry, jnp.stack(ys, 1)


def close(ours, theirs, gate=1e-6):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.shape == b.shape and np.abs(np.asarray(a) - np.asarray(b)).max() <= gate


def scan_is_step_by_step(case):
    """Forward, reversed, in two pieces, both ways at once."""
    cell, xs, params = build(case)

    @jax.jit
    def program(params, xs):
        middle, first = run(cell, params, xs[:, :2])
        last, second = run(cell, params, xs[:, 2:], carry=middle)
        bound = cell.bind(params)
        return {'steps': by_hand(cell, params, xs), 'scan': run(cell, params, xs),
                'pieces': (last, jnp.concatenate([first, second], 1)),
                'back': by_hand(cell, params, xs[:, ::-1]), 'reverse': run(cell, params, xs, reverse=True),
                'both': bidirectional(bound, bound, xs)}

    got = jax.tree.map(np.asarray, program(params, xs))
    (carry, ys), (back, sy) = got['steps'], got['back']
    assert all(np.ptp(leaf) > 0.1 for leaf in jax.tree.leaves((carry, ys))), 'a constant would show nothing'
    close(got['scan'], (carry, ys))
    close(got['pieces'], (carry, ys))
    close(got['reverse'], (back, sy[:, ::-1]))
    close(got['both'], ((carry, back), np.concatenate([ys, sy[:, ::-1]], -1)))


def padding_changes_nothing(case):
    """Neither values nor gradients, whatever stands in the padding; both directions; a sequence of length 0."""
    cell, xs, params = build(case)
    start = jax.tree.map(lambda c: c + 0.5, cell.initial_carry(BATCH))
    weight = jnp.asarray(np.random.default_rng(1).normal(size=(BATCH, TIME, case.fields.get('projection', F))), 'f')
    row = lambda tree, i: jax.tree.map(lambda c: c[i:i + 1], tree)

    def loss(params, xs, carry, weight, lengths, reverse):
        carry, ys = run(cell, params, xs, lengths, carry=carry, reverse=reverse)
        return jnp.sum(weight * ys) + sum(jnp.sum(jnp.cos(c)) for c in jax.tree.leaves(carry)), (carry, ys)

    @functools.partial(jax.jit, static_argnums=4)
    def program(params, xs, lengths, start, reverse):
        grad = jax.value_and_grad(loss, (0, 1, 2), has_aux=True)
        return grad(params, xs, start, weight, lengths, reverse), [
            grad(params, xs[i:i + 1, :n], row(start, i), weight[i:i + 1, :n], None, reverse)
            for i, n in enumerate(LENGTHS) if n]

    padded = jnp.where(jnp.arange(TIME)[None, :, None] < LENGTHS[:, None, None], xs, jnp.nan)
    for reverse in (False, True):
        whole, alone = jax.tree.map(np.asarray, program(params, padded, LENGTHS, start, reverse))
        (value, (carry, ys)), grads = whole
        rest = float(sum(np.cos(c[-1]).sum() for c in jax.tree.leaves(start)))      # of the sequence of length 0
        assert abs(value - rest - sum(a[0][0] for a in alone)) < 1e-5
        close(grads[0], jax.tree.map(lambda *g: sum(g), *(a[1][0] for a in alone)), 2e-5)
        for i, n in enumerate(LENGTHS):
            assert not ys[i, n:].any() and not grads[1][i, n:].any()
            if n == 0:
                close(row(carry, i), row(start, i), 0)
                continue
            (_, final), g = alone[i]
            close((row(carry, i), ys[i:i + 1, :n]), final)
            close((grads[1][i:i + 1, :n], row(grads[2], i)), g[1:], 5e-6)


def every_parameter_learns(case):
    """Each number of each array; as many as counted by hand; the first input is heard in the last output."""
    cell, xs, params = build(case)
    assert sum(p.size for p in jax.tree.leaves(params)) == case.parameters

    def loss(params, xs):
        return jnp.sum(jnp.sin(cell.apply(params, xs, method=unroll)[1][:, -1]))

    grads, heard = jax.jit(jax.grad(loss, (0, 1)))(params, xs)
    for path, grad in jax.tree.leaves_with_path(grads):
        assert np.isfinite(grad).all() and np.all(grad), jax.tree_util.keystr(path)
    assert (np.asarray(heard)[:, 0] != 0).all()


def truncation_stops_gradients_only(case):
    """Equal values; the gradient of pieces with a carry that is cut between them, in both directions."""
    cell, xs, params = build(case)

    def cut(params, xs, reverse):
        carry, ys = None, []
        for part in range(0, TIME, 2):
            now = xs[:, TIME - part - 2:TIME - part] if reverse else xs[:, part:part + 2]
            carry, y = run(cell, params, now, carry=jax.tree.map(jax.lax.stop_gradient, carry), reverse=reverse)
            ys.append(y)
        return jnp.concatenate(ys[::-1] if reverse else ys, 1)

    ways = {'pieces': cut, 'truncate': lambda p, xs, r: run(cell, p, xs, truncate=2, reverse=r)[1],
            'full': lambda p, xs, r: run(cell, p, xs, reverse=r)[1]}

    @functools.partial(jax.jit, static_argnums=2)
    def program(params, xs, reverse):
        return {name: jax.value_and_grad(lambda p, xs, way=way: jnp.sum(jnp.sin(way(p, xs, reverse))), (0, 1))(
            params, xs) for name, way in ways.items()}

    for reverse in (False, True):
        got = jax.tree.map(np.asarray, program(params, xs, reverse))
        close(got['truncate'], got['pieces'], 1e-5)
        assert abs(got['truncate'][0] - got['full'][0]) < 1e-5
        assert np.abs(got['truncate'][1][1] - got['full'][1][1]).max() > 1e-3, 'nothing was cut'


def bfloat16_runs(case):
    """Near float32; the carry stays float32; dtype does not change param_dtype, and that alone changes the params."""
    cell, xs, params = build(case)
    half = build(case, dtype=jnp.bfloat16)[0]
    (carry, ys), (half_carry, half_ys) = jax.jit(lambda p, xs: (run(cell, p, xs), run(half, p, xs)))(params, xs)
    assert half_ys.dtype == jnp.bfloat16 and {c.dtype for c in jax.tree.leaves(half_carry)} == {jnp.dtype('float32')}
    assert jax.tree.structure(carry) == jax.tree.structure(half_carry)
    assert 0 < np.abs(np.float32(half_ys) - ys).max() < 0.05 * np.abs(ys).max()
    for fields, stored in (({'dtype': jnp.bfloat16}, 'float32'), ({'param_dtype': jnp.bfloat16}, 'bfloat16')):
        shapes = jax.eval_shape(lambda key, f=fields: cell.clone(**f).init(key, xs, method=unroll), jax.random.key(0))
        assert {p.dtype for p in jax.tree.leaves(shapes)} == {jnp.dtype(stored)}


def jit_and_vmap_change_nothing(case):
    """Eagerly, jitted, one sequence at a time; other lengths do not trace again."""
    cell, xs, params = build(case)
    traces = []

    @jax.jit
    def program(params, xs, lengths):
        traces.append(1)
        one = jax.vmap(lambda x, n: run(cell, params, x[None], n[None])[1][0])
        return run(cell, params, xs, lengths), one(xs, lengths)

    eager = run(cell, params, xs, LENGTHS)
    jitted, alone = program(params, xs, jnp.asarray(LENGTHS))
    close(jitted, eager)
    close(alone, eager[1])
    program(params, xs, jnp.asarray(LENGTHS[::-1]))
    assert len(traces) == 1, 'lengths are data, not shapes'


def form(case):
    """Two positional arrays, fields, and what is refused, in one line each."""
    cell, xs, params = build(case)
    assert isinstance(cell, nn.Module) and {'features', 'dtype', 'param_dtype'} <= set(cell.__dataclass_fields__)
    assert list(inspect.signature(type(cell).__call__).parameters) == ['self', 'carry', 'x']
    carry = cell.initial_carry(BATCH)
    assert all(leaf.ndim == 2 and not leaf.any() for leaf in jax.tree.leaves(carry))
    assert jax.tree.structure(carry) == jax.tree.structure(
        jax.eval_shape(cell.apply, params, carry, xs[:, 0])[0])
    wide = jax.tree.map(lambda c: c[:1], carry)
    for message, call in {
        r'^x: expected \[batch, features\]; found shape \(3, 4, 4\)': lambda: cell.apply(params, carry, xs),
        r'^carry: expected .* found .*': lambda: cell.apply(params, wide, xs[:, 0]),
        r'^xs: expected \[batch, time, features\]; found': lambda: cell.apply(params, xs[0], method=unroll),
        r'^carry: expected .* found .*\(1,': lambda: cell.apply(params, xs, carry=wide, method=unroll),
        r'^lengths: expected 3 integers': lambda: cell.apply(params, xs, LENGTHS[:2], method=unroll),
        r'^lengths: expected 3 .* float32': lambda: cell.apply(params, xs, LENGTHS.astype('f'), method=unroll),
        r'^lengths: expected 0 to 4; found 1 to 5': lambda: cell.apply(params, xs, LENGTHS + 1, method=unroll),
        r'^truncate: expected 1 or more': lambda: cell.apply(params, xs, truncate=0, method=unroll),
        r'^features.*: expected .*width': lambda: cell.clone(features=0).init(jax.random.key(0), xs, method=unroll),
    }.items():
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert '\n' not in str(error.value)


LAWS = (scan_is_step_by_step, padding_changes_nothing, every_parameter_learns, truncation_stops_gradients_only,
        bfloat16_runs, jit_and_vmap_change_nothing, form)
PAIRS = [(name, law) for name in CASES for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('name', 'law'), [pytest.param(n, law, id=f'{n}-{law.__name__}') for n, law in PAIRS])
def test_law(name, law):
    law(CASES[name])
    RAN.add((name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert set(ROWS) == {case.member for case in CASES.values()} and len(ROWS) == 3
    assert len(PAIRS) == len(CASES) * len(LAWS) == 35
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
