"""What learns: an encoder, a decoder and their task, as a config asks for them."""
from typing import NamedTuple

import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from common import optim
from common.task import Task
from levels.level7_advanced.graphs.gcn import GCN, VariationalGCN
from levels.level7_advanced.graphs.link_prediction import DotDecoder, MLPDecoder, link_task


class OnSplit(NamedTuple):
    """A learner, and the seed of the split it learns on: whoever scores it must hold out the same links."""
    inner: optim.Fit
    seed: Int[Array, '']


def on_split(task: Task) -> Task:
    """Task in, task out: the state remembers the seed of its batches' split."""
    def init(key, batch):
        return OnSplit(task.init(key, batch), batch['seed'])

    def step(key, state, batch):
        inner, metrics = task.step(key, state.inner, batch)
        return state._replace(inner=inner), metrics

    return Task(init, step)


def build(c):
    """(encoder, decoder, task) of a config."""
    dtype = jnp.dtype(c.dtype)
    encoder = {'gae': GCN, 'vgae': VariationalGCN}[c.model](c.features, dropout=c.dropout, dtype=dtype)
    decoder = {'dot': DotDecoder(dtype=dtype), 'cosine': DotDecoder(cosine=True, dtype=dtype),
               'mlp': MLPDecoder(c.decoder_hidden, dtype=dtype)}[c.decoder]
    task = link_task(encoder, decoder, optax.adamw(c.rate, weight_decay=c.weight_decay),
                     negatives=c.negatives, tries=c.tries, kl_weight=c.kl_weight if c.model == 'vgae' else None,
                     policy=optim.Policy(dtype))
    return encoder, decoder, on_split(task)
