"""Decoding: from a model that gives logits to text, greedily or by drawing; one jitted scan for a batch of prompts.

Paper: temperature and top-k: Fan, Lewis, Dauphin 2018, Hierarchical Neural Story Generation, section 5.4; top-p:
    Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, section 3.1.

Prompts of different lengths are padded on the left, with a mask that is False there.

Example:
    from levels.level5_transformers.decode import generate, left_pad
    prompts, mask = left_pad([[5, 6, 7], [9]])
    tokens = generate(model, params, prompts, new=20, mask=mask)                       # greedy
    tokens = generate(model, params, prompts, new=20, mask=mask, key=key, temperature=0.8, top_k=40, top_p=0.95)
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from levels.level5_transformers.gpt import GPT, empty_cache


def filter_logits(logits: Float[Array, '*batch vocab'], *, temperature: float = 1.0, top_k: int = 0,
                  top_p: float = 1.0) -> Float[Array, '*batch vocab']:
    """Logits of the distribution that is drawn from; -inf for what can not be drawn.

    Formula: l / temperature; then the k largest; then, of what is left, the fewest whose probabilities reach top_p.
    Paper: Fan, Lewis, Dauphin 2018, section 5.4; Holtzman et al. 2020, section 3.1.
    Shapes: [..., vocab] -> [..., vocab], float32 at least.
    top_k 0 and top_p 1 leave all; one token is always left. Among equal logits the lower number goes first, so that
        never more than k are left.
    Errors: ValueError for a temperature that is not positive, a negative top_k, a top_p outside [0, 1].
    Example:
        logits = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3]))
        jnp.isfinite(filter_logits(logits, top_k=2))         # [False, True, False, True]
        jnp.isfinite(filter_logits(logits, top_p=0.8))       # [False, True, True, True]: 0.4 + 0.3 is below 0.8
        jax.nn.softmax(filter_logits(logits, temperature=0.5)).max() > 0.5
    """
    if not temperature > 0 or top_k < 0 or not 0 <= top_p <= 1:
        raise ValueError(f'temperature, top_k, top_p: expected > 0, >= 0 and 0 to 1; '
                         f'found {temperature}, {top_k}, {top_p}')
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32)) / temperature
    size = logits.shape[-1]
    if not 0 < top_k < size and top_p == 1:
        return logits
    order = jnp.argsort(-logits, axis=-1, stable=True)
    best = jnp.take_along_axis(logits, order, -1)
    rank = jnp.broadcast_to(jnp.arange(size), best.shape)
    keep = rank < (top_k or size)
    if top_p < 1:
        p = jax.nn.softmax(jnp.where(keep, best, -jnp.inf), axis=-1)
        before = jnp.cumsum(p, axis=-1) - p         # what those ahead of it have together
        keep &= (before < top_p) | (rank == 0)
    kept = jnp.take_along_axis(keep, jnp.argsort(order, axis=-1), -1)
    return jnp.where(kept, logits, -jnp.inf)


def left_pad(prompts: Sequence[Sequence[int]], *, pad: int = 0) -> tuple[Int[np.ndarray, 'batch time'],
                                                                         Bool[np.ndarray, 'batch time']]:
    """Prompts of any lengths -> (tokens, mask), both [batch, longest]. ValueError for none, or an empty one."""
    if not prompts or min(map(len, prompts)) < 1:
        raise ValueError('prompts: expected one or more, none of them empty')
    longest = max(map(len, prompts))
    tokens = np.array([[pad] * (longest - len(p)) + list(p) for p in prompts], np.int32)
    return tokens, np.array([[False] * (longest - len(p)) + [True] * len(p) for p in prompts])


def generate(model: GPT, params: Any, prompts: Int[Array, 'batch time'], *, new: int,
             key: Key[Array, ''] | None = None, mask: Bool[Array, 'batch time'] | None = None,
             temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, end: int | None = None, pad: int = 0,
             cache: bool = True) -> Int[Array, 'batch new']:
    """`new` tokens after each prompt: the most likely one each time without `key` (or at temperature 0), else drawn.

    mask: False where a prompt is padded, on the left.  end: what follows this token is `pad`.
    cache: keys and values are kept, and prompt and new tokens must fit into the context; without it the model sees the
        last `context` tokens at each step, which costs more and has no end.
    Deterministic in `key`; step i draws with fold_in(key, i).
    Raises ValueError for a prompt that is empty, too long, or padded elsewhere than on the left; new below 1.
    """
    prompts = jnp.asarray(prompts, jnp.int32)
    if prompts.ndim != 2 or prompts.shape[1] < 1 or new < 1:
        raise ValueError(f'prompts, new: expected [batch, time] and at least 1; found {prompts.shape}, {new}')
    if cache and prompts.shape[1] + new > model.context:
        raise ValueError(f'new: expected at most context={model.context} tokens with the prompt of {prompts.shape[1]}; '
                         f'found {new} (cache=False has no such limit)')
    mask = jnp.ones(prompts.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape != prompts.shape:
        raise ValueError(f'mask: expected {prompts.shape}; found {mask.shape}')
    if not isinstance(mask, jax.core.Tracer) and not (mask[:, -1].all() and (mask[:, 1:] >= mask[:, :-1]).all()):
        raise ValueError('mask: expected padding on the left alone, and no empty prompt')
    if key is None or temperature == 0:
        key, temperature = None, 1.0
    filter_logits(jnp.zeros(2), temperature=temperature, top_k=top_k, top_p=top_p)       # the errors, before tracing
    run = _cached if cache else _windowed
    return run(model, params, prompts, mask, key, new=new, temperature=temperature, top_k=top_k, top_p=top_p, end=end,
               pad=pad)


def _choose(logits, key, i, done, *, temperature, top_k, top_p, end, pad):
    """(next tokens [batch], which rows have ended)."""
    if key is None:
        token = jnp.argmax(logits, -1)
    else:
        token = jax.random.categorical(jax.random.fold_in(key, i), filter_logits(
            logits, temperature=temperature, top_k=top_k, top_p=top_p))
    token = jnp.where(done, pad, token).astype(jnp.int32)
    return token, done if end is None else done | (token == end)


_STATIC = ('model', 'new', 'temperature', 'top_k', 'top_p', 'end', 'pad')


@functools.partial(jax.jit, static_argnames=_STATIC)
def _cached(model, params, prompts, mask, key, *, new, **how):
    batch, time = prompts.shape
    memory = empty_cache(model, batch=batch, length=time + new)
    logits, memory = model.apply({'params': params}, prompts, memory, mask=mask, method='extend')
    token, done = _choose(logits[:, -1], key, 0, jnp.zeros(batch, bool), **how)

    def step(carry, i):
        token, done, memory = carry
        logits, memory = model.apply({'params': params}, token[:, None], memory, method='extend')
        token, done = _choose(logits[:, -1], key, i, done, **how)
        return (token, done, memory), token

    _, rest = jax.lax.scan(step, (token, done, memory), jnp.arange(1, new))
    return jnp.concatenate([token[:, None], rest.T], axis=1)


@functools.partial(jax.jit, static_argnames=_STATIC)
def _windowed(model, params, prompts, mask, key, *, new, **how):
    # The last `context` tokens, on the right of a window of fixed size; what is free on its left is masked.
    fill = max(model.context - prompts.shape[1], 0)
    window = jnp.pad(prompts, ((0, 0), (fill, 0)))[:, -model.context:]
    real = jnp.pad(mask, ((0, 0), (fill, 0)))[:, -model.context:]
    push = lambda rows, last: jnp.concatenate([rows[:, 1:], last[:, None]], axis=1)

    def step(carry, i):
        window, real, done = carry
        logits = model.apply({'params': params}, window, mask=real)
        token, done = _choose(logits[:, -1], key, i, done, **how)
        return (push(window, token), push(real, jnp.ones_like(done)), done), token

    _, tokens = jax.lax.scan(step, (window, real, jnp.zeros(len(prompts), bool)), jnp.arange(new))
    return tokens.T
