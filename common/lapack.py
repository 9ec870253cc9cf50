"""Decompositions that LAPACK computes on a CPU, safe under vmap there: `jnp.linalg` and `jax.scipy.linalg` else.

XLA:CPU (jaxlib 0.10.2) runs a batch of LAPACK calls as tasks in the pool of threads that it was itself called on, and
waits there. As many batches at once as the pool has threads, in branches of one program or on several devices, and all
wait for ever: with two cores, three Cholesky batches under `pmap` on two devices. So a batch that comes of vmap goes
one by one here, which needs no task and costs nothing that could be measured; other platforms get the whole batch.
"""
from collections.abc import Callable

import jax
import jax.numpy as jnp


def _one_by_one(fn: Callable) -> Callable:
    run = jax.custom_batching.custom_vmap(fn)

    @run.def_vmap
    def batch(size, batched, *args):
        args = [a if b else jnp.broadcast_to(a, (size, *jnp.shape(a))) for a, b in zip(args, batched)]
        out = jax.lax.platform_dependent(*args, cpu=lambda *a: jax.lax.map(lambda one: run(*one), a),
                                         default=jax.vmap(fn))
        return out, jax.tree.map(lambda _: True, out)

    # custom_vmap has no transposition: derivatives, and what goes with them, are those of the plain function
    safe = jax.custom_jvp(run)
    safe.defjvp(lambda args, tangents: jax.jvp(fn, args, tangents))
    return safe


cholesky = _one_by_one(lambda a: jnp.linalg.cholesky(a, symmetrize_input=False))
cho_solve = _one_by_one(lambda lower, b: jax.scipy.linalg.cho_solve((lower, True), b))
eigh = _one_by_one(lambda a: tuple(jnp.linalg.eigh(a)))
lstsq = _one_by_one(lambda a, b, cut: jnp.linalg.lstsq(a, b, rcond=cut)[::2])      # the solution and the rank
qr = _one_by_one(lambda a: tuple(jnp.linalg.qr(a)))
qr_r = _one_by_one(lambda a: jnp.linalg.qr(a, mode='r'))
solve = _one_by_one(jnp.linalg.solve)
svd = _one_by_one(lambda a: tuple(jnp.linalg.svd(a, full_matrices=False)))
