"""Deep networks of equal layers: plain or residual, with batch norm, layer norm or none, scanned and rematerialised.

Formula: h_0 = W_in x + b_in; a plain layer is h_l = D(f(N(W_l h_{l-1} + b_l))), with f(N(.)) around h_0 as well; a
    residual one h_l = h_{l-1} + s D(W_l f(N(h_{l-1})) + b_l), with f(N(.)) around h_L; output = W_out h + b_out.
    D: dropout, then (residual) drop path; N: the norm; s: `branch_scale`.
Paper: He, Zhang, Ren, Sun 2016, Identity mappings in deep residual networks, figure 4(e) (norm and activation first);
    Ioffe, Szegedy 2015, Batch normalization; Hanin, Rolnick 2018, How to start training (s = L^-1/2 without norms).

The hidden layers' variables are stacked, [depth, ...] each, whether or not they are scanned; so `scan` and `remat` are
choices of speed and memory that can be changed between two runs of one checkpoint.  `scan=True` compiles one layer,
whatever the depth; `scan=False` lets XLA see all of them.  `remat=True` keeps h_l only and computes the rest of a layer
anew on the way back.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout, batch_norm
from levels.level2_neural.dropout import DropPath
from levels.level2_neural.mlp import activation_fn

NORMS = ('none', 'batch', 'layer')


class _Layer(nn.Module):
    """One hidden layer as the body of a scan: (h, None) -> (h', None)."""

    net: 'DNN'
    train: bool

    @nn.compact
    def __call__(self, h, _):
        net = self.net
        dense = nn.Dense(net.width, kernel_init=net.kernel_init, bias_init=net.bias_init, dtype=net.dtype,
                         param_dtype=net.param_dtype, name='dense')
        drop = lambda v: Dropout(net.dropout)(v, train=self.train)
        if net.residual:
            branch = drop(dense(net.normed(h, self.train, 'norm')))
            h = h + net.scale * DropPath(net.drop_path)(branch, train=self.train)
        else:
            h = drop(net.normed(dense(h), self.train, 'norm'))
        self.sow('intermediates', 'hidden', h)
        return h, None


class DNN(nn.Module):
    """A deep network of `depth` equal hidden layers, for classification (logits) or regression.

    Formula: plain h_l = D(f(N(W_l h_{l-1} + b_l))); residual h_l = h_{l-1} + s D(W_l f(N(h_{l-1})) + b_l); see the
        module's card. `branch_scale` s: by default 1 with a norm, depth^-1/2 without.
    Paper: He, Zhang, Ren, Sun 2016, Identity mappings in deep residual networks.
    Shapes: [batch, ...] -> [batch, n_out]; `kind='regression'` with n_out = 1 -> [batch].
    Parameters: `first/kernel` [in, width]; `layers/dense/kernel` [depth, width, width], `layers/norm/scale`
        [depth, width] and so on; `norm` (of h_0, or of h_L where residual); `last/kernel` [width, n_out]; biases.
        (in + 1) width + depth (width + 1) width + (width + 1) n_out, and with a norm 2 width (depth + 1).
    Errors: ValueError for an unknown activation, norm or kind, sizes below 1, a rate outside [0, 1), drop_path without
        residual, input without a feature axis.
    Sown: `layers/hidden` [depth, batch, width] (collection 'intermediates').
    Example:
        model = DNN(width=32, depth=50, n_out=3, residual=True, norm='layer')
        params = model.init(jax.random.key(0), jnp.zeros((1, 8)))
        logits = model.apply(params, jnp.ones((4, 8)))
        unrolled = model.clone(scan=False, remat=True).apply(params, jnp.ones((4, 8)))
        assert logits.shape == (4, 3) and jnp.allclose(logits, unrolled, atol=1e-5)
    """

    width: int
    depth: int
    n_out: int
    activation: str | Callable[[Array], Array] = 'relu'
    kind: str = 'classification'
    residual: bool = False
    norm: str = 'none'
    dropout: float = 0.0
    drop_path: float = 0.0
    branch_scale: float | None = None
    scan: bool = True
    remat: bool = False
    kernel_init: Callable[..., Any] = nn.initializers.he_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @property
    def scale(self) -> float:
        """s of the card."""
        if self.branch_scale is not None:
            return self.branch_scale
        return self.depth**-0.5 if self.norm == 'none' else 1.0

    def _check(self, x) -> None:
        activation_fn(self.activation)
        for name, known in (('norm', NORMS), ('kind', ('classification', 'regression'))):
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}; found {getattr(self, name)!r}')
        for name in ('width', 'depth', 'n_out'):
            if getattr(self, name) < 1:
                raise ValueError(f'{name}: expected 1 or more; found {getattr(self, name)}')
        for name in ('dropout', 'drop_path'):
            if not isinstance(getattr(self, name), jax.core.Tracer) and not 0 <= getattr(self, name) < 1:
                raise ValueError(f'{name}: expected a rate in [0, 1); found {getattr(self, name)}')
        if self.drop_path and not self.residual:
            raise ValueError(f'drop_path: expected 0 without residual; found {self.drop_path}')
        if x.ndim < 2:
            raise ValueError(f'x: expected [batch, ...] of rank 2 or more; found shape {x.shape}')

    @nn.nowrap
    def normed(self, h, train: bool, name: str):
        """f(N(h))."""
        kwargs = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'name': name}
        if self.norm == 'batch':
            h = batch_norm(train=train, **kwargs)(h)
        elif self.norm == 'layer':
            h = nn.LayerNorm(epsilon=1e-5, use_fast_variance=False, **kwargs)(h)
        return activation_fn(self.activation)(h)

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch *n_out']:
        self._check(x)
        dense = lambda units, name, init: nn.Dense(units, kernel_init=init, bias_init=self.bias_init, dtype=self.dtype,
                                                   param_dtype=self.param_dtype, name=name)
        h = dense(self.width, 'first', self.kernel_init)(x.reshape(x.shape[0], -1))
        if not self.residual:
            h = self.normed(h, train, 'norm')
        layer = nn.remat(_Layer, prevent_cse=not self.scan) if self.remat else _Layer
        stack = nn.scan(layer, variable_axes={'params': 0, 'batch_stats': 0, 'intermediates': 0},
                        split_rngs={'params': True, 'dropout': True}, length=self.depth,
                        unroll=1 if self.scan else self.depth)
        h, _ = stack(self.clone(parent=None, name=None), train, name='layers')(h, None)
        if self.residual:
            h = self.normed(h, train, 'norm')
        out = dense(self.n_out, 'last', nn.initializers.lecun_normal())(h)
        return out[:, 0] if self.kind == 'regression' and self.n_out == 1 else out
