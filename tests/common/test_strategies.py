"""jit = pmap = mesh = FSDP, the ordered reduction's bits, and the literal mistakes that must not go unseen."""
import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from common import loop, optim, parallel, strategies, trees
from common.errors import UsageError
from tests.common.nets import KEY, conv_task, source

FSDP = [('(params|mu|nu)/.*kernel', 'fsdp')]
OTHERS = {
    'pmap': strategies.pmap,
    'mesh': strategies.mesh,
    'fsdp': lambda **k: strategies.mesh(rules=FSDP, **k),
    'tensor': lambda **k: strategies.mesh({'data': 4, 'model': 2}, [('Dense_0/kernel', P(None, 'model'))], **k),
}


def run(strategy, steps, tx=None, **kwargs):
    return loop.fit(conv_task(tx), source(), steps=steps, key=KEY, strategy=strategy, **kwargs).carry


def distance(a, b):
    """Largest difference of two states, leaf by leaf, relative to the leaf's largest value."""
    gaps = jax.tree.map(lambda x, y: np.max(np.abs(x - y)) / max(np.max(np.abs(x)), 1e-3),
                        *(trees.to_host(s.state) for s in (a, b)))
    return max(jax.tree.leaves(gaps))


@pytest.fixture(scope='module')
def one_sgd():
    return run(strategies.jit(), 1)


@pytest.fixture(scope='module')
def twenty_adam():
    return run(strategies.jit(), 20, optax.adam(1e-3))


@pytest.mark.parametrize('name', OTHERS)
def test_one_sgd_step_agrees(name, one_sgd):
    assert distance(one_sgd, run(OTHERS[name](), 1)) < 1e-5


@pytest.mark.parametrize('name', OTHERS)
def test_twenty_adam_steps_agree(name, twenty_adam):
    assert distance(twenty_adam, run(OTHERS[name](), 20, optax.adam(1e-3))) < 1e-4     # seen: 4e-7


def test_fsdp_splits_parameters_and_optimizer_state():
    state = run(OTHERS['fsdp'](), 1, optax.adam(1e-3)).state
    specs = {p: x.sharding.spec for p, x in trees.named_leaves(state).items() if p.endswith('Dense_0/kernel')}
    assert len(specs) == 3 and all('data' in s for s in specs.values()), specs


@pytest.mark.parametrize('batches', [8, 16])
def test_ordered_reduction_gives_the_same_bits_on_1_2_4_8_devices(batches):
    def bits(strategy):
        return trees.sha256(jax.device_get(jax.tree.map(trees.raw, run(strategy, 4, optax.adam(1e-3)).state)))
    reference = bits(strategies.jit(micro=batches))
    for n in (1, 2, 4, 8):
        assert bits(strategies.mesh({'data': n}, micro=batches)) == reference, f'mesh of {n}'
    for n in (1, 8):
        assert bits(strategies.pmap(devices=n, micro=batches)) == reference, f'pmap of {n}'
    assert bits(strategies.mesh(rules=FSDP, micro=batches)) == reference, 'fsdp'


def test_ordered_reduction_counts_each_row_once_in_its_metrics():
    rows = []
    loop.fit(conv_task(), source(), steps=1, key=KEY, strategy=strategies.mesh(micro=8), log_every=1,
             hooks=[], log=lambda step, values, _: rows.append(values))
    plain = []
    loop.fit(conv_task(), source(), steps=1, key=KEY, strategy=strategies.jit(micro=8), log_every=1,
             log=lambda step, values, _: plain.append(values))
    assert rows == plain


MISTAKES = {
    'the sum over replicas is missing': ('psum', lambda tree: tree),
    'the sum is N times too large': ('psum', lambda tree: jax.tree.map(
        lambda x: x * 8 if jnp.ndim(x) else x, jax.lax.psum(tree, parallel.axis_name()))),
    'each replica draws masks of its own': ('rows', lambda draw, n: draw(n)),
    'batch norm sees one replica': ('axis_name', lambda: None),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_the_literal_mistake_is_seen(mistake, one_sgd, monkeypatch):
    """The comparison above fails, far outside its tolerance, when a collective is wrong."""
    name, wrong = MISTAKES[mistake]
    if name == 'psum':   # the driver adds metrics with the same function: break the gradient's only
        monkeypatch.setattr(optim, 'parallel', type('p', (), {**vars(parallel), name: staticmethod(
            lambda t: wrong(t) if parallel.axis() else t)}))
    else:
        monkeypatch.setattr(parallel, name, wrong)
    assert distance(one_sgd, run(strategies.pmap(), 1)) > 1e-3


def test_a_trace_is_not_reused_under_another_strategy(one_sgd):
    """A task whose step is itself jitted, run under all strategies in one process."""
    task = conv_task()
    task = task._replace(step=jax.jit(task.step))
    def gap(strategy):
        return distance(one_sgd, loop.fit(task, source(), steps=1, key=KEY, strategy=strategy).carry)
    fast = [gap(s) for s in (strategies.jit(), strategies.pmap(), strategies.mesh())]
    ordered = [gap(s) for s in (strategies.pmap(micro=8), strategies.mesh(micro=8), strategies.jit(micro=8))]
    again = [gap(s) for s in (strategies.mesh(), strategies.pmap(), strategies.jit())]
    assert max(fast + again) < 1e-5 and min(ordered) > 1e-3     # ordered: other statistics and masks, by design


def test_steps_per_call_and_the_device_count_change_nothing_but_speed():
    a = loop.fit(conv_task(), source(), steps=4, key=KEY)
    b = loop.fit(conv_task(), source(), steps=4, key=KEY, steps_per_call=2)
    chex.assert_trees_all_close(a.carry.state, b.carry.state, atol=1e-6)


WRONG = {
    'mesh: expected': lambda: strategies.mesh({'model': 8}),
    'names the axis': lambda: run(strategies.mesh(rules=[('kernel', P('modle'))]), 1),
    'matches': lambda: run(strategies.mesh(rules=[('kernl$', 'fsdp')]), 1),
    'does not divide': lambda: run(strategies.mesh(rules=[('Dense_0/kernel', P(None, 'data'))]), 1),
    'pmap cannot split': lambda: run(strategies.pmap(FSDP), 1),
    'batch_size: expected a multiple of the 8 devices': lambda: loop.fit(
        conv_task(), source(12), steps=1, key=KEY, strategy=strategies.mesh()),
    'micro_batches: expected a multiple': lambda: run(strategies.mesh(micro=4), 1),
}


@pytest.mark.parametrize('message', WRONG)
def test_wrong_use_says_so(message):
    with pytest.raises(UsageError, match=message):
        WRONG[message]()
