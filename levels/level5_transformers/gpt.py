"""GPT-2: a causal Transformer over tokens, its cache for decoding, and options of later recipes.

Paper: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3 (on top of Radford et al.
    2018, Improving Language Understanding by Generative Pre-Training, section 4.1). Options, off by default: rotary
    positions (Su et al. 2021), normalised queries and keys (Henry et al. 2020), squared ReLU (So et al. 2021, Primer,
    section 4.2), RMSNorm (Zhang, Sennrich 2019).

| name           | layers | heads | width | parameters    |
| gpt2           | 12     | 12    | 768   | 124,439,808   |
| gpt2-medium    | 24     | 16    | 1024  | 354,823,168   |
| gpt2-large     | 36     | 20    | 1280  | 774,030,080   |
| gpt2-xl        | 48     | 25    | 1600  | 1,557,611,200 |

Example:
    from levels.level5_transformers.gpt import GPT, empty_cache
    model = GPT(vocab_size=50257, context=1024, layers=12, heads=12, width=768)
    logits = model.apply({'params': params}, tokens)                                     # [batch, time, vocab]
    cache = empty_cache(model, batch=8, length=64)
    logits, cache = model.apply({'params': params}, prompt, cache, method='extend')      # then token by token
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.layers import Dropout, flat_dot
from levels.level5_transformers.attention import MultiHeadAttention
from levels.level5_transformers.layer_norm import LayerNorm, RMSNorm

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    'gelu_tanh': lambda x: jax.nn.gelu(x, approximate=True),
    'relu2': lambda x: jnp.square(jax.nn.relu(x)),
}


class KVCache(NamedTuple):
    """Keys and values of the tokens so far. Slot s of a row holds a token if `real[row, s]`; slots from `at` are free.

    A pytree that goes in and comes out: nothing is hidden in the module, so decoding is a pure function.
    """

    k: tuple[Float[Array, 'batch length heads dim'], ...]   # one for each layer: updated in place inside a scan
    v: tuple[Float[Array, 'batch length heads dim'], ...]
    real: Bool[Array, 'batch length']
    at: Int[Array, '']


def _norm(m: 'Block | GPT') -> nn.Module:
    types = {'epsilon': m.norm_epsilon, 'dtype': m.dtype, 'param_dtype': m.param_dtype}
    return RMSNorm(**types) if m.norm == 'rms_norm' else LayerNorm(use_bias=m.bias, **types)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)): pre-norm, as GPT-2 has it. Fields are those of `GPT`."""

    layers: int
    heads: int
    width: int
    dropout: float
    bias: bool
    norm: str
    norm_epsilon: float
    activation: str
    positions: str
    qk_norm: bool
    dtype: Any
    param_dtype: Any

    def setup(self):
        # Each block adds two terms to the stream: their scale shrinks with depth (Radford et al. 2019, section 2.3).
        last = nn.initializers.normal(0.02 / (2 * self.layers) ** 0.5)
        types = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        self.norm_1, self.norm_2 = _norm(self), _norm(self)
        self.attention = MultiHeadAttention(self.width, self.heads, bias=self.bias, dropout=self.dropout, out_init=last,
                                            rope=self.positions == 'rope', qk_norm=self.qk_norm, **types)
        dense = lambda n, init: nn.Dense(n, use_bias=self.bias, kernel_init=init, dot_general=flat_dot, **types)
        self.up, self.down = dense(4 * self.width, nn.initializers.normal(0.02)), dense(self.width, last)
        self.drop = Dropout(self.dropout)

    def __call__(self, x, *, train, mask, positions):
        x = x + self.drop(self.attention(self.norm_1(x), train=train, mask=mask, positions=positions), train=train)
        return x + self.drop(self._feed_forward(x), train=train)

    def cached(self, x, memory, *, at, see, positions):
        y, memory = self.attention.cached(self.norm_1(x), memory, at=at, see=see, positions=positions)
        x = x + y
        return x + self._feed_forward(x), memory

    def _feed_forward(self, x):
        return self.down(ACTIVATIONS[self.activation](self.up(self.norm_2(x))))


class GPT(nn.Module):
    """A language model: from tokens so far to logits of the next one.

    Formula: x = wte[tokens] + wpe[positions]; for each layer x += attention(norm(x)), x += down(f(up(norm(x))));
        logits = norm(x) wte^T (the head is tied to the embedding).
    Paper: Radford et al. 2019, section 2.3 (see the module's card).
    Shapes: tokens int [batch, time] -> logits [batch, time, vocab_size], time <= context; mask bool [batch, time], True
        for real tokens: the others are seen by none, and positions count real tokens only, so left padding changes
        nothing. Logits at padding mean nothing.
    Options: norm 'layer_norm' or 'rms_norm'; activation 'gelu_tanh' or 'relu2'; positions 'learned' or 'rope'; qk_norm;
        bias (of projections and LayerNorm); dropout (of embeddings, attention weights and both sums, one rate).
    Parameters: `wte/embedding`, `wpe/embedding` (learned positions only), `block_<i>/{norm_1, attention/{qkv, out},
        norm_2, up, down}`, `norm_f`.
    Errors: ValueError for an unknown option, a width that the heads do not divide, more tokens than `context`, tokens
        that are not integers of rank 2.
    Example:
        model = GPT(vocab_size=65, context=16, layers=2, heads=2, width=32)
        tokens = jnp.zeros((3, 10), jnp.int32)
        params = model.init(jax.random.key(0), tokens)
        model.apply(params, tokens).shape                    # (3, 10, 65)
    """

    vocab_size: int
    context: int
    layers: int
    heads: int
    width: int
    dropout: float = 0.0
    bias: bool = True
    norm: str = 'layer_norm'
    norm_epsilon: float = 1e-5
    activation: str = 'gelu_tanh'
    positions: str = 'learned'
    qk_norm: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        options = (('norm', ('layer_norm', 'rms_norm')), ('activation', tuple(ACTIVATIONS)),
                   ('positions', ('learned', 'rope')))
        for name, known in options:
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}; found {getattr(self, name)!r}')
        if min(self.vocab_size, self.context, self.layers) < 1:
            raise ValueError(f'vocab_size, context, layers: expected at least 1; found '
                             f'{self.vocab_size}, {self.context}, {self.layers}')
        table = lambda n: nn.Embed(n, self.width, embedding_init=nn.initializers.normal(0.02), dtype=self.dtype,
                                   param_dtype=self.param_dtype)
        self.wte = table(self.vocab_size)
        if self.positions == 'learned':
            self.wpe = table(self.context)
        self.drop = Dropout(self.dropout)
        shared = {f: getattr(self, f) for f in Block.__dataclass_fields__ if f not in ('parent', 'name')}
        self.block = [Block(**shared) for _ in range(self.layers)]
        self.norm_f = _norm(self)

    def __call__(self, tokens: Int[Array, 'batch time'], *, train: bool = False,
                 mask: Bool[Array, 'batch time'] | None = None) -> Float[Array, 'batch time vocab']:
        self._check(tokens, self.context)
        count = jnp.arange(1, tokens.shape[1] + 1)[None] if mask is None else jnp.cumsum(mask, axis=1)
        positions = jnp.maximum(count - 1, 0)
        x = self.drop(self._embed(tokens, positions), train=train)
        for block in self.block:
            x = block(x, train=train, mask=mask, positions=positions)
        return self.wte.attend(self.norm_f(x))

    def extend(self, tokens: Int[Array, 'batch time'], cache: KVCache, *, mask: Bool[Array, 'batch time'] | None = None
               ) -> tuple[Float[Array, 'batch time vocab'], KVCache]:
        """Logits of tokens that follow those in `cache`, and the cache with them: evaluation of any length, in parts.

        Logits are NaN once the cache is over-full, which jit cannot refuse: an overflow must not pass for text.
        """
        length, time = cache.real.shape[1], tokens.shape[1]
        self._check(tokens, length)
        new = jnp.ones(tokens.shape, bool) if mask is None else mask
        positions = jnp.maximum(cache.real.sum(1, keepdims=True) + jnp.cumsum(new, axis=1) - 1, 0)
        real = jax.lax.dynamic_update_slice(cache.real, new, (jnp.zeros((), cache.at.dtype), cache.at))
        slots = jnp.arange(length)[None, :] <= (cache.at + jnp.arange(time))[:, None]      # none sees later tokens
        see = real[:, None, :] & slots[None]
        x, memories = self._embed(tokens, positions), []
        for block, *memory in zip(self.block, cache.k, cache.v):
            x, memory = block.cached(x, tuple(memory), at=cache.at, see=see, positions=positions)
            memories.append(memory)
        logits = self.wte.attend(self.norm_f(x))
        logits = jnp.where(cache.at + time <= length, logits, jnp.nan)
        k, v = zip(*memories)
        return logits, KVCache(k, v, real, cache.at + time)

    def _check(self, tokens, length):
        if tokens.ndim != 2 or not jnp.issubdtype(tokens.dtype, jnp.integer):
            raise ValueError(f'tokens: expected integers [batch, time]; found {tokens.dtype} {tokens.shape}')
        if tokens.shape[1] > length:
            raise ValueError(f'tokens: expected at most {length} of them; found {tokens.shape[1]}')

    def _embed(self, tokens, positions):
        x = self.wte(tokens)
        if self.positions == 'rope':
            return x
        where = self.wpe(positions)
        return x + jnp.broadcast_to(where, x.shape)


def empty_cache(model: GPT, *, batch: int, length: int, dtype: Any = None) -> KVCache:
    """A cache for `length` tokens of `batch` rows, with none in it; `dtype` defaults to the model's, else float32.

    Raises ValueError for a length below 1, or above the context of learned positions.
    """
    top = model.context if model.positions == 'learned' else length
    if not 1 <= length <= top:
        raise ValueError(f'length: expected 1 to {top}; found {length}')
    one = jnp.zeros((batch, length, model.heads, model.width // model.heads), dtype or model.dtype or jnp.float32)
    return KVCache((one,) * model.layers, (one,) * model.layers, jnp.zeros((batch, length), bool),
                   jnp.zeros((), jnp.int32))
