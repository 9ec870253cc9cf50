"""One comparison for all parity tests: measure, write a ledger row when $PARITY_LEDGER names a file, then assert."""

import json
import os

import jax
import jax.numpy as jnp
import numpy as np

if __name__ != 'parity_ledger':     # a second copy of this module would keep a ledger that nobody reads
    raise ImportError(f'expected `from parity_ledger import ...`; got it as {__name__}')

ROWS: list[dict] = []     # what this process compared; tests/conftest.py joins those of all workers
FILE = os.environ.pop('PARITY_LEDGER', '')      # away, so that what a test starts leaves no row in it


def compare(component, peer, quantity, ours, theirs, gate, *, relative=False):
    """The largest difference of two trees of arrays, gated; `relative` divides each leaf's by the peer leaf's largest
    entry.  Shapes must agree leaf by leaf."""
    ours, theirs = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    assert len(ours) == len(theirs) > 0
    error = 0.0
    for a, b in zip(ours, theirs, strict=True):
        a, b = (np.asarray(leaf, np.float64) for leaf in (a, b))
        assert a.shape == b.shape, (a.shape, b.shape)
        scale = np.abs(b).max() if relative else 1.0
        assert scale > 0, f'{quantity}: a leaf that is all zeros compares nothing'
        error = max(error, float(np.abs(a - b).max() / scale))
    assert error <= gate, f'{component} against {peer}, {quantity}: {error:.3g} > {gate:.3g}'
    # only now: tests that break something on purpose leave no row
    row = {'component': component, 'peer': peer, 'quantity': quantity, 'error': error, 'gate': gate}
    ROWS.append(row)
    if FILE:
        with open(FILE, 'a') as file:
            file.write(json.dumps(row) + '\n')
    return error


def value_and_grads(fn, x, k, *args, **kwargs):
    """Value and gradients with respect to x and k of a sum that no symmetry makes trivial."""
    def loss(x, k):
        y = fn(x, k, *args, **kwargs)
        return jnp.sum(jnp.sin(y)), y

    (_, y), grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(jnp.asarray(x), jnp.asarray(k))
    return y, grads


def eqns(jaxpr):
    """Every equation of a program, those of inner programs included."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from eqns(inner)
