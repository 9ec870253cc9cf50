"""The model, its task and its optimiser, from a config."""
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from common import metrics as M
from common import optim, trees
from common.task import Task
from common.wrappers import with_ema
from levels.level5_transformers.gpt import GPT


def tiled(tokens: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """Windows [n, length + 1], each beginning with the last token of the one before: every token but the first is
    predicted once, and a remainder shorter than a window is left out."""
    n = (len(tokens) - 1) // length
    if n < 1:
        raise ValueError(f'tokens: expected more than length={length} of them, found {len(tokens)}')
    return {'tokens': tokens[np.arange(n)[:, None] * length + np.arange(length + 1)]}


def language_loss(model: GPT, lengths: np.ndarray) -> Callable:
    """Cross-entropy of each token given those before it, as `optim.gradient_task` and `lora.lora_task` take it.

    batch: tokens [batch, time + 1], optional 'mask' [batch]. Metrics: loss (nats per token), bits_per_char (bits per
    character; a token has lengths[token] of them).
    """
    def loss_fn(params, extra, batch, key, train):
        tokens = batch['tokens'].astype(jnp.int32)
        logits = model.apply({'params': params}, tokens[:, :-1], train=train, rngs={'dropout': key} if train else None)
        logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:])
        loss = M.mean(nats, batch.get('mask'))
        chars = M.mean(jnp.asarray(lengths, jnp.float32)[tokens[:, 1:]], batch.get('mask')).total
        return loss, (extra, {'loss': loss, 'bits_per_char': M.Mean(loss.total / np.log(2), chars)})
    return loss_fn


def language_model(model: GPT, lengths: np.ndarray, tx: optax.GradientTransformation, policy: optim.Policy) -> Task:
    """The task of `language_loss`."""
    def init(key, batch):
        return model.init(key, jnp.asarray(batch['tokens'], jnp.int32)[:1, :-1])['params'], {}
    return optim.gradient_task(init, language_loss(model, lengths), tx, policy=policy)


def optimizer(c) -> optax.GradientTransformation:
    """AdamW on everything, or Muon on the matrices of the blocks and AdamW on the rest; decay of matrices alone."""
    def rate(peak):
        down = (optax.cosine_decay_schedule(peak, c.steps - c.warmup, c.final) if c.schedule == 'cosine' else
                optax.linear_schedule(peak, peak * c.final, c.steps - c.warmup))
        return optax.join_schedules([optax.linear_schedule(0.0, peak, c.warmup), down], [c.warmup])
    matrices = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)
    tx = optax.adamw(rate(c.rate), b2=c.beta2, weight_decay=c.weight_decay, mask=matrices)
    if c.optimizer == 'muon':
        kind = lambda path, p: 'muon' if path.startswith('block') and p.ndim == 2 else 'adamw'
        dims = lambda params: jax.tree.map(lambda p: optax.contrib.MuonDimensionNumbers(), params)
        muon = optax.contrib.muon(rate(c.muon_rate), ns_steps=c.muon_steps, weight_decay=c.weight_decay,
                                  muon_weight_dimension_numbers=dims)
        tx = optax.multi_transform({'muon': muon, 'adamw': tx}, lambda params: trees.map_named(kind, params))
    return optax.chain(optax.clip_by_global_norm(c.clip), tx)


def build(c, tokenizer) -> tuple[GPT, Task]:
    """(model, task) of a config."""
    same = ('context', 'layers', 'heads', 'width', 'dropout', 'bias', 'norm', 'activation', 'positions', 'qk_norm')
    model = GPT(vocab_size=tokenizer.size, dtype=jnp.dtype(c.dtype), **{name: c[name] for name in same})
    task = language_model(model, tokenizer.lengths, optimizer(c), optim.Policy(jnp.dtype(c.dtype)))
    return model, with_ema(task, c.ema) if c.ema else task


def final_params(c, state):
    """The parameters that are evaluated."""
    return state.ema if c.ema else state.params
