"""Link prediction: an encoder of nodes, a decoder of pairs, and the loss of the graph auto-encoder as a Task.

Paper: Kipf, Welling 2016, Variational Graph Auto-Encoders, section 1 (VGAE, and the non-probabilistic model, GAE).

    task = link_task(GCN((64, 32)), DotDecoder(), optax.adam(1e-2))                                 # GAE
    task = link_task(VariationalGCN((64, 32)), DotDecoder(), optax.adam(1e-2), kl_weight=1.0)       # VGAE
    batch = {'graph': messages, 'positive': pairs, 'known': known_ids(training links, n_nodes)}

The rows of a batch are links; every replica encodes the whole graph and scores its own rows.  How splits and negatives
are made without leaking: `links`.
"""
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from common import metrics as M
from common.optim import gradient_task
from common.task import Task
from levels.level2_neural.mlp import MLP
from levels.level7_advanced.graphs.graph import Graph
from levels.level7_advanced.graphs.links import draw_negatives
from levels.level7_advanced.graphs.negatives import draw_hard
from levels.level7_advanced.graphs.variational import kl_to_normal, posterior, reparametrise

SAMPLE = 3      # the stream of the step's key that moves the nodes of a variational encoder


class DotDecoder(nn.Module):
    """The logit of a link is the dot product of its ends, scaled and shifted by two numbers that are learned.

    Formula: logit_uv = a <z_u, z_v> + b; cosine=True takes <z_u, z_v> / (|z_u| |z_v|), so that popular nodes have no
        head start.  a begins at 1 (at 5 for the cosine, which is at most 1), b at 0.  Neither changes a ranking.
    Paper: Kipf, Welling 2016, equation 2 (there a = 1, b = 0).
    Shapes: z [nodes, d], pairs [m, 2] -> logits [m].
    Errors: ValueError for pairs of another shape.
    Example:
        z, pairs = jnp.eye(3), jnp.array([[0, 1], [2, 2]])
        params = DotDecoder().init(jax.random.key(0), z, pairs)
        logits = DotDecoder().apply(params, z, pairs)
        assert logits.tolist() == [0, 1]
    """

    cosine: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, 'nodes d'], pairs: Int[Array, 'm 2'], *,
                 train: bool = False) -> Float[Array, ' m']:
        del train
        u, v = _ends(z, pairs)
        first = 5.0 if self.cosine else 1.0
        scale = self.param('scale', nn.initializers.constant(first), (), self.param_dtype)
        shift = self.param('shift', nn.initializers.zeros_init(), (), self.param_dtype)
        u, v, scale, shift = nn.dtypes.promote_dtype(u, v, scale, shift, dtype=self.dtype)
        if self.cosine:
            u, v = (x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True) + 1e-6) for x in (u, v))
        return scale * jnp.sum(u * v, axis=-1) + shift


class MLPDecoder(nn.Module):
    """A perceptron on the product of the two ends: the same for (u, v) and (v, u).

    Formula: logit_uv = MLP(z_u * z_v), elementwise product.
    Paper: the decoder of the baselines of Hu et al. 2020, Open Graph Benchmark, section 5 (link predictors).
    Shapes: z [nodes, d], pairs [m, 2] -> logits [m].
    Errors: ValueError for pairs of another shape, and those of `MLP`.
    Example:
        z, pairs = jnp.ones((3, 4)), jnp.array([[0, 1], [2, 2]])
        model = MLPDecoder((8,))
        params = model.init(jax.random.key(0), z, pairs)
        assert model.apply(params, z, pairs).shape == (2,)
    """

    hidden: Sequence[int] = (32,)
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, 'nodes d'], pairs: Int[Array, 'm 2'], *,
                 train: bool = False) -> Float[Array, ' m']:
        u, v = _ends(z, pairs)
        return MLP(self.hidden, 1, kind='regression', dropout=self.dropout, dtype=self.dtype,
                   param_dtype=self.param_dtype, name='mlp')(u * v, train=train)


def _ends(z: Float[Array, 'nodes d'], pairs: Int[Array, 'm 2']) -> tuple[Float[Array, 'm d'], Float[Array, 'm d']]:
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f'pairs: expected [m, 2], found shape {pairs.shape}')
    return z[pairs[:, 0]], z[pairs[:, 1]]


def encode(encoder: nn.Module, params: dict, graph: Graph, *, variational: bool = False,
           **kwargs) -> Float[Array, 'nodes d']:
    """Where the encoder puts each node; of a variational one the mean, which is what one evaluates with.  kwargs go to
    `apply`."""
    nodes = encoder.apply({'params': params['encoder']}, graph, **kwargs).nodes
    return posterior(nodes)[0] if variational else nodes


def decode(decoder: nn.Module, params: dict, z: Float[Array, 'nodes d'], pairs: Int[Array, 'm 2'],
           **kwargs) -> Float[Array, ' m']:
    """Logits of pairs, in float32 at least."""
    logits = decoder.apply({'params': params.get('decoder', {})}, z, pairs, **kwargs)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


NEGATIVES = ('uniform', 'structured', 'hard')


def link_task(encoder: nn.Module, decoder: nn.Module, tx: optax.GradientTransformation, *, negatives: str = 'uniform',
              tries: int = 16, kl_weight: float | None = None, **kwargs) -> Task:
    """The graph auto-encoder: binary cross-entropy of the batch's links and of as many fresh pairs that are none; and
    the variational one.

    Formula: mean over links and negatives of  log(1 + exp(-logit)),  log(1 + exp(logit)); with a kl_weight the nodes
        are samples of what the encoder says, and + kl_weight / n_nodes * `kl_to_normal` is added.
        torch_geometric's `recon_loss` is twice the mean, so recon_loss + kl_loss / n_nodes is twice this loss with a
        weight of 0.5.
    negatives: 'uniform' any two nodes, 'structured' one end of each link with another node, 'hard' of `tries` such
        pairs the one that scores highest now (`negatives.draw_hard`); fresh ones in each step, by the step's key
    encoder: graph -> graph; with a kl_weight one like `VariationalGCN`.  It is evaluated at the mean.
    batch: 'graph', a Graph of the messages; 'positive' int [rows, 2]; 'known' ids of the links that no negative may be
    (`known_ids` of the training links); optional 'negative' [rows, 2] to be used in place of fresh ones, and 'mask'
    [rows].  State: `optim.Fit` with params {'encoder', 'decoder'}.  Metrics: loss, accuracy (share of the pairs on
    the right side of 0), with a kl_weight kl.  kwargs go to `gradient_task`.
    """
    if negatives not in NEGATIVES:
        raise ValueError(f'negatives: expected one of {", ".join(NEGATIVES)}, found {negatives!r}')
    variational = kl_weight is not None

    def init_params(key, batch):
        first, second = jax.random.split(key)
        params = {'encoder': encoder.init(first, batch['graph'])['params']}
        z = encode(encoder, params, batch['graph'], variational=variational)
        return {**params, 'decoder': decoder.init(second, z, batch['positive'][:1])['params']}, {}

    def place(params, graph, key, noise, train):
        """Where the nodes are in this step, and how far their distributions are from the prior."""
        if not variational:
            return encode(encoder, params, graph, train=train, rngs={'dropout': noise}), 0.0
        mean, log_std = posterior(encode(encoder, params, graph, train=train, rngs={'dropout': noise}))
        # one sample for the whole graph: the key is the step's, the same on every replica
        z = reparametrise(jax.random.fold_in(key, SAMPLE), mean, log_std) if train else mean
        return z, kl_to_normal(mean, log_std)

    def draw(key, params, z, batch):
        if batch.get('negative') is not None:
            return batch['negative'], jnp.ones(batch['positive'].shape[0], bool)
        args = batch['positive'], batch['known'], z.shape[0]
        if negatives != 'hard':
            return draw_negatives(key, *args, structured=negatives == 'structured', tries=tries)
        fixed, at = jax.lax.stop_gradient((params, z))
        return draw_hard(key, lambda pairs: decode(decoder, fixed, at, pairs), *args, tries=tries)

    def loss_fn(params, extra, batch, key, train):
        positive = batch['positive']
        draws, noise, other = jax.random.split(key, 3)
        z, kl = place(params, batch['graph'], key, noise, train)
        negative, found = draw(draws, params, z, batch)
        pairs = jnp.concatenate([positive, negative.astype(positive.dtype)])
        logits = decode(decoder, params, z, pairs, train=train, rngs={'dropout': other})
        label = jnp.repeat(jnp.array([1.0, 0.0]), positive.shape[0])
        mask = batch.get('mask', jnp.ones(positive.shape[0]))
        mask = jnp.concatenate([mask, mask * found])
        loss = M.mean(optax.sigmoid_binary_cross_entropy(logits, label.astype(logits.dtype)), mask)
        metrics = {'accuracy': M.mean((logits > 0) == (label > 0), mask)}
        if variational:     # as much for each row, so that the parts of a batch on many devices add up to one term
            loss = loss._replace(total=loss.total + kl_weight / z.shape[0] * kl * loss.weight)
            metrics['kl'] = M.Mean(kl * loss.weight, loss.weight)
        return loss, (extra, {'loss': loss, **metrics})

    return gradient_task(init_params, loss_fn, tx, **kwargs)
