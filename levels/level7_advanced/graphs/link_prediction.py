"""Link prediction: an encoder of nodes, a decoder of pairs, and the loss of the graph auto-encoder as a Task.

Paper: Kipf, Welling 2016, Variational Graph Auto-Encoders, section 1 (the non-probabilistic model, GAE).

    task = link_task(GCN((64, 32)), DotDecoder(), optax.adam(1e-2))
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
from levels.level7_advanced.graphs.graph import Graph, n_nodes
from levels.level7_advanced.graphs.links import draw_negatives


class DotDecoder(nn.Module):
    """The logit of a link is the dot product of its ends, scaled and shifted by two numbers that are learned.

    Formula: logit_uv = a <z_u, z_v> + b; cosine=True takes <z_u, z_v> / (|z_u| |z_v|), so that popular nodes have no
        head start.  a begins at 1 (at 5 for the cosine, which is at most 1), b at 0.  Neither changes a ranking.
    Paper: Kipf, Welling 2016, equation 2 (there a = 1, b = 0).
    Shapes: z [nodes, d], pairs [m, 2] -> logits [m].
    Errors: ValueError for pairs of another shape.
    Example:
        z, pairs = jnp.eye(3), jnp.array([[0, 1], [2, 2]])
        DotDecoder().apply(DotDecoder().init(jax.random.key(0), z, pairs), z, pairs)        # [0, 1]
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
        model.apply(model.init(jax.random.key(0), z, pairs), z, pairs).shape                # (2,)
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


def encode(encoder: nn.Module, params: dict, graph: Graph, **kwargs) -> Float[Array, 'nodes d']:
    """Where the encoder puts each node; kwargs go to `apply`."""
    return encoder.apply({'params': params['encoder']}, graph, **kwargs).nodes


def decode(decoder: nn.Module, params: dict, z: Float[Array, 'nodes d'], pairs: Int[Array, 'm 2'],
           **kwargs) -> Float[Array, ' m']:
    """Logits of pairs, in float32 at least."""
    logits = decoder.apply({'params': params.get('decoder', {})}, z, pairs, **kwargs)
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def link_task(encoder: nn.Module, decoder: nn.Module, tx: optax.GradientTransformation, *, structured: bool = False,
              **kwargs) -> Task:
    """The graph auto-encoder: binary cross-entropy of the batch's links and of as many fresh pairs that are none.

    Formula: mean over links and negatives of  log(1 + exp(-logit)),  log(1 + exp(logit)).
    batch: 'graph', a Graph of the messages; 'positive' int [rows, 2]; 'known' ids of the links that no negative may be
    (`known_ids` of the training links); optional 'negative' [rows, 2] to be used in place of fresh ones, and 'mask'
    [rows].  State: `optim.Fit` with params {'encoder', 'decoder'}.  Metrics: loss, accuracy (share of the pairs on
    the right side of 0).  kwargs go to `gradient_task`.
    """
    def init_params(key, batch):
        first, second = jax.random.split(key)
        params = {'encoder': encoder.init(first, batch['graph'])['params']}
        z = encode(encoder, params, batch['graph'])
        return {**params, 'decoder': decoder.init(second, z, batch['positive'][:1])['params']}, {}

    def loss_fn(params, extra, batch, key, train):
        graph, positive = batch['graph'], batch['positive']
        draw, noise, other = jax.random.split(key, 3)
        found = jnp.ones(positive.shape[0], bool)
        negative = batch.get('negative')
        if negative is None:
            negative, found = draw_negatives(draw, positive, batch['known'], n_nodes(graph), structured=structured)
        z = encode(encoder, params, graph, train=train, rngs={'dropout': noise})
        pairs = jnp.concatenate([positive, negative.astype(positive.dtype)])
        logits = decode(decoder, params, z, pairs, train=train, rngs={'dropout': other})
        label = jnp.repeat(jnp.array([1.0, 0.0]), positive.shape[0])
        mask = batch.get('mask', jnp.ones(positive.shape[0]))
        mask = jnp.concatenate([mask, mask * found])
        loss = M.mean(optax.sigmoid_binary_cross_entropy(logits, label.astype(logits.dtype)), mask)
        return loss, (extra, {'loss': loss, 'accuracy': M.mean((logits > 0) == (label > 0), mask)})

    return gradient_task(init_params, loss_fn, tx, **kwargs)
