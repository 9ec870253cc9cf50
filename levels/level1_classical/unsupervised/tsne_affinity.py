"""What t-SNE knows of the data: how likely two rows are to be neighbours.

Formula: p(j | i) = exp(-b_i d_ij^2) / sum_k exp(-b_i d_ik^2), b_i such that the entropy of p(. | i) is the logarithm of
    the perplexity; p_ij = (p(j | i) + p(i | j)) / (2 rows).
Paper: van der Maaten, Hinton 2008, Visualizing data using t-SNE, JMLR 9; among nearest neighbours only: van der Maaten
    2014, Accelerating t-SNE using tree-based algorithms, JMLR 15.
Shapes: X [rows, features] -> P [rows, rows], or neighbours [rows, k] and p(j | i) of them.

Example:
    from levels.level1_classical.unsupervised.tsne_affinity import conditional, distances
    P = conditional(distances(X), 30.0)
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

TOLERANCE, TRIES = 1e-5, 100        # of the entropy; how often a bracket is halved


def chunked(fn, rows: int, *arrays, size: int):
    """fn(*parts) of `size` rows each and joined; the last part is filled up with copies of the first rows."""
    size = min(size, rows)
    fill = jnp.arange(-(-rows // size) * size) % rows
    parts = [a[fill].reshape(-1, size, *a.shape[1:]) for a in arrays]
    out = jax.lax.map(lambda part: fn(*part), tuple(parts))
    return jax.tree.map(lambda v: v.reshape(-1, *v.shape[2:])[:rows], out)


def distances(X: Float[Array, 'rows features']) -> Float[Array, 'rows rows']:
    """Squared distances as sums of squared differences, which do not cancel; infinite from a row to itself."""
    rows, features = X.shape
    columns = X.T
    one = lambda x: jnp.sum((columns - x[:, None]) ** 2, 0)
    size = max(1, 2**22 // (rows * features))
    return jnp.where(jnp.eye(rows, dtype=bool), jnp.inf, chunked(jax.vmap(one), rows, X, size=size))


def conditional(squared: Float[Array, 'rows k'], perplexity) -> Float[Array, 'rows k']:
    """p(j | i) of each row by bisection for the precision b_i; rows are independent. Infinite distances get 0."""
    goal = jnp.log(jnp.asarray(perplexity, squared.dtype))

    def one(row):
        real = jnp.isfinite(row)
        far = jnp.where(real, row - jnp.min(row), 0)        # a shift changes no probability, and nothing underflows

        def weights(beta):
            return jnp.where(real, jnp.exp(-beta * far), 0)

        def entropy(beta):
            w = weights(beta)
            total = jnp.sum(w)
            return jnp.log(total) + beta * jnp.sum(far * w) / total

        def narrow(search):
            tries, beta, low, high, _ = search
            off = entropy(beta) - goal
            low, high = jnp.where(off > 0, beta, low), jnp.where(off > 0, high, beta)
            middle = jnp.where(off > 0, jnp.where(jnp.isinf(high), 2 * beta, (beta + high) / 2),
                               jnp.where(low == 0, beta / 2, (beta + low) / 2))
            done = (jnp.abs(off) <= TOLERANCE) | (middle == beta)
            return tries + 1, jnp.where(done, beta, middle), low, high, done

        begin = (0, jnp.ones((), row.dtype), jnp.zeros((), row.dtype), jnp.full((), jnp.inf, row.dtype), False)
        beta = jax.lax.while_loop(lambda s: ~s[-1] & (s[0] < TRIES), narrow, begin)[1]
        w = weights(beta)
        return w / jnp.sum(w)

    return jax.vmap(one)(squared)


def joint(X: Float[Array, 'rows features'], perplexity) -> Float[Array, 'rows rows']:
    """The whole matrix P; its diagonal is 0 and its sum is 1."""
    p = conditional(distances(X), perplexity)
    return (p + p.T) / (2 * len(X))


def returned(neighbours: Int[Array, 'rows k'], values: Float[Array, 'rows k']) -> Float[Array, 'rows k']:
    """For each edge i -> j the value of the edge j -> i, or 0 where i is no neighbour of j."""
    rows, k = neighbours.shape

    def one(i, js):
        return jnp.sum(jnp.where(neighbours[js] == i, values[js], 0), 1)

    return chunked(jax.vmap(one), rows, jnp.arange(rows), neighbours, size=max(1, 2**22 // k**2))
