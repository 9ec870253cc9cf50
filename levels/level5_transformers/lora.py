"""LoRA: fine-tuning by a low-rank addition to chosen weights, which themselves stay as they are.

Paper: Hu et al. 2021, LoRA: Low-Rank Adaptation of Large Language Models, section 4.1.

Three functions on trees of parameters, for any model whose kernels are matrices [in, out], and a Task of them:

    adapters = lora_init(key, params, pattern=ATTENTION, rank=8)             # as many numbers as rank (in + out) each
    logits = model.apply({'params': lora_merge(params, adapters, alpha=16)}, tokens)
    task = lora_task(params, loss_fn, optax.adamw(1e-3), pattern=ATTENTION, rank=8, alpha=16)
    params = lora_merge(**state.params, alpha=16)                            # one tree again, as fast as before
"""

import re
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from jaxtyping import Array, Key

from common import optim, trees
from common.task import Task

PyTree = Any
ATTENTION = r'attention/(qkv|out)/kernel$'      # of `gpt.GPT`; the paper adapts queries and values
EVERYTHING = r'(qkv|out|up|down)/kernel$'


def lora_init(key: Key[Array, ''], params: PyTree, *, pattern: str, rank: int,
              init: Literal['kaiming', 'gaussian'] = 'kaiming') -> dict[str, Any]:
    """Adapters that add nothing yet, for all parameters whose path ('block_0/up/kernel') matches the regex.

    Formula: A random, B zero. 'kaiming': A uniform in +-1 / sqrt(in), as the authors' code has it; 'gaussian': A normal
        with deviation 1 / rank, as peft has it.
    Paper: Hu et al. 2021, section 4.1.
    Shapes: a tree of parameters -> a tree with {'a': [in, rank], 'b': [rank, out]} in place of each match [in, out], in
        its type, and nothing else.
    Errors: ValueError when nothing matches, a match is no matrix, rank is not 1 to its smaller side, or for another
        `init`.
    Example:
        params = {'up': {'kernel': jnp.ones((6, 8)), 'bias': jnp.zeros(8)}}
        adapters = lora_init(jax.random.key(0), params, pattern='kernel$', rank=2)
        assert adapters['up']['kernel']['a'].shape == (6, 2) and list(adapters['up']) == ['kernel']
        assert (lora_merge(params, adapters, alpha=4)['up']['kernel'] == 1).all()
    """
    draws = {'kaiming': lambda key, w: jax.random.uniform(key, (w.shape[0], rank), w.dtype, -1, 1) / w.shape[0]**0.5,
             'gaussian': lambda key, w: jax.random.normal(key, (w.shape[0], rank), w.dtype) / rank}
    if init not in draws:
        raise ValueError(f'init: expected one of {", ".join(draws)}; found {init!r}')
    found = {path: w for path, w in trees.named_leaves(params).items() if re.search(pattern, path)}
    if not found:
        raise ValueError(f'pattern: expected one that matches some path; found {pattern!r}')
    for path, w in found.items():
        if w.ndim != 2 or not 1 <= rank <= min(w.shape):
            raise ValueError(f'{path}: expected a matrix with no side below rank={rank}, from 1; found {w.shape}')
    keys = dict(zip(sorted(found), jax.random.split(key, len(found))))
    return traverse_util.unflatten_dict(
        {path: {'a': draws[init](keys[path], w), 'b': jnp.zeros((rank, w.shape[1]), w.dtype)}
         for path, w in found.items()}, sep='/')


def lora_merge(base: PyTree, lora: PyTree, *, alpha: float) -> PyTree:
    """The parameters with their adapters added: what the model is applied to, in training and afterwards.

    Formula: W + (alpha / rank) A B for each adapter; x (W + s A B) = x W + s (x A) B.
    Paper: Hu et al. 2021, section 4.1, equation 3 (there W is [out, in], and B A).
    Shapes: a tree like `base`, each leaf of its shape and type; the sum is made in float32 at least.
    Bits: what has no adapter is the same array. With B = 0 merging changes no value. Otherwise W is rounded once, and
        `lora_unmerge` again: it gives W back to about a unit in the last place of the larger of W and the sum, not to
        the bit. Keep `base` where its bits matter, and merge anew. In bfloat16 what an adapter adds below 2^-9 of its
        weight is rounded away, in training too.
    Errors: ValueError for an adapter whose parameter is missing or has another shape.
    Example:
        base = {'kernel': jnp.zeros((3, 2))}
        lora = {'kernel': {'a': jnp.ones((3, 1)), 'b': jnp.ones((1, 2))}}
        merged = lora_merge(base, lora, alpha=0.5)
        assert (merged['kernel'] == 0.5).all()
        assert (lora_unmerge(merged, lora, alpha=0.5)['kernel'] == 0).all()
    """
    pairs = {}
    for path, x in trees.named_leaves(lora).items():
        where, _, part = path.rpartition('/')
        pairs.setdefault(where, {})[part] = x
    shapes = {path: jnp.shape(w) for path, w in trees.named_leaves(base).items()}
    for path, pair in pairs.items():
        wanted = (*jnp.shape(pair['a'])[:1], *jnp.shape(pair['b'])[1:])
        if shapes.get(path) != wanted:
            raise ValueError(f'{path}: expected a parameter of shape {wanted}; found {shapes.get(path, "none")}')

    def add(path, w):
        if path not in pairs:
            return w
        a, b = pairs[path]['a'], pairs[path]['b']
        wide = jnp.promote_types(jnp.result_type(w, a, b), jnp.float32)
        more = jnp.dot(a.astype(wide), b.astype(wide), precision='highest') * (alpha / a.shape[1])
        return (w.astype(wide) + more).astype(w.dtype)
    return trees.map_named(add, base)


def lora_unmerge(merged: PyTree, lora: PyTree, *, alpha: float) -> PyTree:
    """`lora_merge` undone, but for rounding: see there."""
    return lora_merge(merged, lora, alpha=-alpha)


def lora_task(params: PyTree, loss_fn: Callable, tx: optax.GradientTransformation, *, pattern: str, rank: int,
              alpha: float, init: Literal['kaiming', 'gaussian'] = 'kaiming', **kwargs) -> Task:
    """`optim.gradient_task` that goes on from `params` and moves adapters alone.

    loss_fn(params, extra, batch, key, train) -> (loss, (extra, metrics)) sees merged parameters, as if there were no
    adapters. state.params is {'base': params, 'lora': adapters}: the base is in the state, and so in its checkpoints,
    but has no gradient, no optimiser state, and never changes a bit. Each seed draws its own A.
    Raises ValueError as `lora_init`, at init.
    """
    def begin(key, batch):
        del batch
        base = jax.tree.map(jnp.asarray, params)
        return {'base': base, 'lora': lora_init(key, base, pattern=pattern, rank=rank, init=init)}, {}

    def loss(both, extra, batch, key, train):
        merged = lora_merge(jax.lax.stop_gradient(both['base']), both['lora'], alpha=alpha)
        return loss_fn(merged, extra, batch, key, train)

    return optim.gradient_task(begin, loss, optim.freeze(tx, '^base/'), **kwargs)
