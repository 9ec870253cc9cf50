"""Independent problems over devices: the same results under every strategy, whatever their number."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import spread, strategies

MAKE = {'jit': strategies.jit, 'pmap': lambda rules: strategies.pmap(rules, devices=4),
        'mesh': lambda rules: strategies.mesh({'data': 4}, rules)}


def halve(shared, split):
    """Newton's iterations for sqrt, until each problem has converged: a loop whose length differs by problem."""
    root = lambda a: jax.lax.while_loop(lambda x: jnp.abs(x * x - a) > 1e-4 * a, lambda x: (x + a / x) / 2, a)
    return {'root': jax.vmap(root)(split['a']), 'sum': split['a'][:, None] + shared[None]}


@pytest.mark.parametrize('problems', [3, 8])
@pytest.mark.parametrize('name', list(MAKE))
def test_results_are_those_of_one_device(name, problems):
    shared, split = jnp.arange(5.0), {'a': np.linspace(1, 9, problems, dtype=np.float32) ** 2}
    run = spread.compile(MAKE[name](spread.RULES), halve, shared, split)
    for scale in (1, 4):        # a second call with other values
        found = run(shared, {'a': scale * split['a']})
        assert isinstance(found['root'], np.ndarray) and found['sum'].shape == (problems, 5)
        assert np.allclose(found['root'], np.sqrt(scale * split['a']), rtol=1e-3)
        assert np.array_equal(found['sum'], scale * split['a'][:, None] + np.arange(5, dtype=np.float32)[None])


@pytest.mark.parametrize('name', ['pmap', 'mesh'])
def test_each_device_has_its_share_and_no_more(name):
    lengths = []

    def fn(shared, split):
        lengths.append(len(split))
        return split

    spread.compile(MAKE[name](spread.RULES), fn, jnp.zeros(1), np.zeros(7, np.float32))
    assert lengths[-1] == 2      # 8 in all, on 4 devices


@pytest.mark.parametrize('name', ['pmap', 'mesh'])
def test_devices_never_wait_for_each_other(name):
    """With two cores, an all-gather and an all-reduce that do not depend on each other wait for ever on two devices."""
    programs, strategy = [], MAKE[name](spread.RULES)

    def spied(*args):
        programs.append(real(*args))
        return programs[-1]

    real, strategies._aot = strategies._aot, spied
    try:
        values = lambda split: jax.lax.map(lambda a: jnp.linalg.svd(a)[1], split)
        fn = lambda shared, split: {'values': values(split), 'sum': split.sum((1, 2)) + shared}
        spread.compile(strategy, fn, jnp.zeros(()), np.ones((8, 3, 2), np.float32))
    finally:
        strategies._aot = real
    text, = (program.as_text() for program in programs)
    assert 'custom-call' in text
    assert not [word for word in ('all-gather', 'all-reduce', 'all-to-all', 'collective-permute') if word in text]


def test_leaves_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r'split: expected leaves with the same first axis, found \[2, 3\]'):
        spread.compile(MAKE['jit'](spread.RULES), halve, jnp.zeros(1), {'a': np.zeros(2), 'b': np.zeros(3)})
