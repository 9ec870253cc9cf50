"""What models share: see tests/common/test_strategies.py for dropout and batch norm on replicas."""
import flax.linen as nn
import jax
import numpy as np

from common import layers


def inner(jaxpr):
    """All equations, those of inner jaxprs as well."""
    for eqn in jaxpr.eqns:
        yield eqn
        for leaf in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, 'jaxpr')):
            if hasattr(leaf, 'jaxpr'):
                yield from inner(leaf.jaxpr)


def qr_ranks(init) -> set[int]:
    """Ranks of what goes into a QR decomposition when `init` is vmapped over three seeds."""
    keys = jax.random.split(jax.random.key(0), 3)
    found = inner(jax.make_jaxpr(jax.vmap(lambda key: init(key, (5, 4))))(keys).jaxpr)
    return {e.invars[0].aval.ndim for e in found if e.primitive.name in ('qr', 'geqrf', 'householder_product')}


def test_orthogonal_weights_are_linen_s_and_never_a_batch_of_decompositions():
    theirs, ours = nn.initializers.orthogonal(2.0), layers.orthogonal(2.0)
    keys = jax.random.split(jax.random.key(1), 3)
    for shape in ((4, 4), (6, 3), (3, 6)):
        np.testing.assert_array_equal(ours(keys[0], shape), theirs(keys[0], shape))
        many = jax.vmap(lambda key, shape=shape: ours(key, shape))(keys)
        np.testing.assert_array_equal(many[1], theirs(keys[1], shape))
    assert qr_ranks(ours) == {2} and qr_ranks(theirs) == {3}
