"""What a variational graph auto-encoder adds to a graph auto-encoder: a distribution for each node, and its price.

Paper: Kipf, Welling 2016, Variational Graph Auto-Encoders, section 1; the estimator of the gradient is that of Kingma,
    Welling 2014, Auto-Encoding Variational Bayes, section 2.4.

The encoder is `gcn.VariationalGCN`, the task `link_prediction.link_task` with a `kl_weight`.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

LARGEST_LOG_STD = 10.0      # as torch_geometric's MAX_LOGSTD: exp(2 * 10) is still far from infinity


def posterior(nodes: Float[Array, 'nodes both']) -> tuple[Float[Array, 'nodes d'], Float[Array, 'nodes d']]:
    """(mean, log standard deviation) from what `VariationalGCN` puts side by side; the latter is at most 10.

    Raises ValueError for an odd number of columns.
    """
    if nodes.ndim != 2 or nodes.shape[1] % 2:
        raise ValueError(f'nodes: expected [nodes, 2 d], means and log deviations, found shape {nodes.shape}')
    mean, log_std = jnp.split(nodes, 2, axis=1)
    return mean, jnp.minimum(log_std, LARGEST_LOG_STD)


def reparametrise(key: Key[Array, ''], mean: Float[Array, 'nodes d'],
                  log_std: Float[Array, 'nodes d']) -> Float[Array, 'nodes d']:
    """A sample of the nodes' normal distributions, through which gradients flow into mean and deviation.

    Formula: z = mean + exp(log_std) * e, e ~ N(0, 1), independent for each number.
    Paper: Kingma, Welling 2014, Auto-Encoding Variational Bayes, section 2.4.
    Shapes: mean, log_std [n, d] -> [n, d].
    Errors: those of broadcasting.
    Example:
        key = jax.random.key(0)
        mean = jnp.ones((3, 2))
        far = jnp.full((3, 2), -30.0)
        assert jnp.allclose(reparametrise(key, mean, far), mean)        # almost no deviation
    """
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def kl_to_normal(mean: Float[Array, 'nodes d'], log_std: Float[Array, 'nodes d']) -> Float[Array, '']:
    """How far the nodes' distributions are from N(0, 1), in nats: the mean over nodes of the sum over dimensions.

    Formula: -(1 / 2n) sum_ij 1 + 2 log_std_ij - mean_ij^2 - exp(2 log_std_ij).
    Paper: Kingma, Welling 2014, Auto-Encoding Variational Bayes, appendix B.
    Shapes: mean, log_std [n, d] -> scalar, in float32 at least.
    Errors: those of broadcasting.
    Example:
        mean = jnp.zeros((3, 2))
        same = kl_to_normal(mean, mean)                                 # 0
        moved = kl_to_normal(mean + 1, mean)                            # half a nat for each of two dimensions
        assert same == 0 and moved == 1
    """
    wide = jnp.promote_types(mean.dtype, jnp.float32)
    mean, log_std = mean.astype(wide), log_std.astype(wide)
    return -0.5 * jnp.mean(jnp.sum(1 + 2 * log_std - mean**2 - jnp.exp(2 * log_std), axis=1))
