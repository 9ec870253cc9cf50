"""Graph convolutions: GCNConv, the stack GCN, VariationalGCN, a stack with two heads, and SGConv, GCNConv's linear
relative.  Each is graph -> graph.

Paper: Kipf, Welling 2017, Semi-Supervised Classification with Graph Convolutional Networks, equations 2, 8 and 9;
    Kipf, Welling 2016, Variational Graph Auto-Encoders, section 1; Wu et al. 2019, Simplifying Graph Convolutional
    Networks, equation 8.

The normalised adjacency matrix S is never built: S H is one gather and one segment sum over the edges.  Features go
through the kernel first, so that what travels over the edges is narrow; sparse ones (`graph.Bag`) stay sparse.
Weights go to torch_geometric's layers by a transposition: lin.weight = kernel^T.
"""
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level2_neural.mlp import activation_fn
from levels.level7_advanced.graphs.graph import Bag, Graph, normalise, propagate

Init = Callable[..., Array]
Nodes = Float[Array, 'nodes features'] | Bag


def _ready(graph: Graph, norm: str, self_loops: bool) -> Graph:
    """Checks the form; adds loops and normalises unless the weights are final already."""
    if len(graph.nodes.shape) != 2:
        raise ValueError(f'nodes: expected [nodes, features] or a Bag, found shape {graph.nodes.shape}')
    if graph.edges is not None and graph.edges.ndim != 1:
        raise ValueError(f'edges: expected None or one weight per edge, found shape {graph.edges.shape}')
    return graph if norm == 'done' else normalise(graph, norm, self_loops=self_loops)


def _project(module: nn.Module, nodes: Nodes, features: int) -> Float[Array, 'nodes features']:
    """nodes @ kernel, dense or sparse, in the module's dtype; makes the module's 'kernel'."""
    kernel = module.param('kernel', module.kernel_init, (nodes.shape[1], features), module.param_dtype)
    value, kernel = nn.dtypes.promote_dtype(nodes.value if isinstance(nodes, Bag) else nodes, kernel,
                                            dtype=module.dtype)
    return (nodes.replace(value=value) if isinstance(nodes, Bag) else value) @ kernel


def _shift(module: nn.Module, values: Float[Array, 'nodes features']) -> Float[Array, 'nodes features']:
    """values + bias, where the module has one."""
    if not module.use_bias:
        return values
    bias = module.param('bias', nn.initializers.zeros_init(), values.shape[1:], module.param_dtype)
    return values + bias.astype(values.dtype)[None]


class GCNConv(nn.Module):
    """Graph convolution: each node takes the weighted mean of its neighbours' and its own projected features.

    Formula: H' = S H W + b, S = D^-1/2 (A + I) D^-1/2 for norm='sym', D^-1 (A + I) for 'row', A + I for 'none'; a
        node that has a loop keeps it instead of I.  norm='done' takes the graph's weights as they are.
    Paper: Kipf, Welling 2017, equation 8.
    Shapes: graph with nodes [n, f] (or a `Bag`) and edges None or [e] -> the graph with nodes [n, features].
    Errors: ValueError for nodes or edges of another rank, an unknown norm.
    Example:
        import numpy as np
        from levels.level7_advanced.graphs.graph import from_edges
        g = from_edges(np.array([[0, 1], [1, 0]]), jnp.eye(3))      # node 2 stands alone
        params = GCNConv(4).init(jax.random.key(0), g)
        GCNConv(4).apply(params, g).nodes.shape                     # (3, 4)
    """

    features: int
    norm: str = 'sym'
    self_loops: bool = True
    use_bias: bool = True
    kernel_init: Init = nn.initializers.xavier_uniform()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, graph: Graph, *, train: bool = False) -> Graph:
        del train
        ready = _ready(graph, self.norm, self.self_loops)
        values = _project(self, graph.nodes, self.features)
        return graph._replace(nodes=_shift(self, propagate(ready, values)))


class SGConv(nn.Module):
    """Simplified graph convolution: `hops` rounds of averaging and one linear map.

    Formula: H' = S^hops H W + b, S as in GCNConv.
    Paper: Wu, Souza, Zhang, Fifty, Yu, Weinberger 2019, equation 8.
    Shapes: graph with nodes [n, f] (or a `Bag`) and edges None or [e] -> the graph with nodes [n, features].
    Errors: ValueError for hops < 0, nodes or edges of another rank, an unknown norm.
    Example:
        import numpy as np
        from levels.level7_advanced.graphs.graph import from_edges
        g = from_edges(np.array([[0, 1], [1, 0]]), jnp.eye(3))
        params = SGConv(4, hops=2).init(jax.random.key(0), g)
        SGConv(4, hops=2).apply(params, g).nodes.shape              # (3, 4)
    """

    features: int
    hops: int = 2
    norm: str = 'sym'
    self_loops: bool = True
    use_bias: bool = True
    kernel_init: Init = nn.initializers.xavier_uniform()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, graph: Graph, *, train: bool = False) -> Graph:
        del train
        if self.hops < 0:
            raise ValueError(f'hops: expected 0 or more, found {self.hops}')
        ready = _ready(graph, self.norm, self.self_loops)
        values = _project(self, graph.nodes, self.features)     # linear: the map may come first, and is narrower
        for _ in range(self.hops):
            values = propagate(ready, values)
        return graph._replace(nodes=_shift(self, values))


class GCN(nn.Module):
    """A stack of GCNConv with an activation after each layer but the last; S is computed once for all of them.

    Formula: H_0 = drop(X), H_i = drop(f(S H_{i-1} W_i + b_i)), output S H_{L-1} W_L + b_L.
    Paper: Kipf, Welling 2017, equation 9.
    Shapes: graph with nodes [n, f] (or a `Bag`) and edges None or [e] -> the graph with nodes [n, features[-1]].
    Errors: ValueError for no layers, a rate outside 0 <= rate < 1, an unknown activation or norm, other ranks.
    Example:
        import numpy as np
        from levels.level7_advanced.graphs.graph import from_edges
        g = from_edges(np.array([[0, 1], [1, 0]]), jnp.eye(3))
        model = GCN((16, 2), dropout=0.5)
        params = model.init(jax.random.key(0), g)
        model.apply(params, g, train=True, rngs={'dropout': jax.random.key(1)}).nodes.shape     # (3, 2)
    """

    features: Sequence[int]
    activation: str | Callable[[Array], Array] = 'relu'
    dropout: float = 0.0
    norm: str = 'sym'
    self_loops: bool = True
    use_bias: bool = True
    kernel_init: Init = nn.initializers.xavier_uniform()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, graph: Graph, *, train: bool = False) -> Graph:
        if not self.features or not 0 <= self.dropout < 1:
            raise ValueError('features, dropout: expected one width or more and 0 <= dropout < 1, found '
                             f'{self.features} and {self.dropout}')
        f = activation_fn(self.activation)
        # Linen's own dropout, not common.layers': every replica sees the whole graph, and must drop the same of it.
        drop = nn.Dropout(self.dropout, deterministic=not train)
        ready = _ready(graph, self.norm, self.self_loops)
        nodes = graph.nodes
        for i, width in enumerate(self.features):
            # Of a bag only what is there can be dropped: its zeros are zeros anyway.
            nodes = nodes.replace(value=drop(nodes.value)) if isinstance(nodes, Bag) else drop(nodes)
            layer = GCNConv(width, norm='done', use_bias=self.use_bias, kernel_init=self.kernel_init,
                            dtype=self.dtype, param_dtype=self.param_dtype, name=f'conv_{i}')
            nodes = layer(ready._replace(nodes=nodes)).nodes
            nodes = f(nodes) if i + 1 < len(self.features) else nodes
        return graph._replace(nodes=nodes)


class VariationalGCN(GCN):
    """The encoder of a variational graph auto-encoder: for each node the mean and the log standard deviation of a
    normal distribution, by two graph convolutions on top of a stack that both share.

    Formula: H = drop(f(GCN(X))) of all widths but the last; [mean, log std] = S H [W_m, W_s] + [b_m, b_s], side by
        side, so that one product and one sum over the edges serve both (`variational.posterior` takes them apart).
    Paper: Kipf, Welling 2016, Variational Graph Auto-Encoders, section 1 (there one shared layer, no bias).
    Shapes: graph with nodes [n, f] (or a `Bag`) and edges None or [e] -> the graph with nodes [n, 2 features[-1]].
    Errors: ValueError for fewer than two widths, and those of `GCN`.
    Example:
        import numpy as np
        from levels.level7_advanced.graphs.graph import from_edges
        g = from_edges(np.array([[0, 1], [1, 0]]), jnp.eye(3))
        params = VariationalGCN((16, 2)).init(jax.random.key(0), g)
        VariationalGCN((16, 2)).apply(params, g).nodes.shape        # (3, 4): two means, two log deviations
    """

    @nn.compact
    def __call__(self, graph: Graph, *, train: bool = False) -> Graph:
        if len(self.features) < 2:
            raise ValueError(f'features: expected two widths or more, found {self.features}')
        *shared, width = self.features

        def head_init(key, shape, dtype):       # each head as if it stood alone: its fan out is its own width
            return jnp.concatenate([self.kernel_init(k, (shape[0], width), dtype) for k in jax.random.split(key)], 1)

        options = {'norm': 'done', 'use_bias': self.use_bias, 'dtype': self.dtype, 'param_dtype': self.param_dtype}
        ready = _ready(graph, self.norm, self.self_loops)
        hidden = GCN(shared, activation=self.activation, dropout=self.dropout, kernel_init=self.kernel_init,
                     name='shared', **options)(ready, train=train).nodes
        hidden = activation_fn(self.activation)(hidden)
        hidden = nn.Dropout(self.dropout, deterministic=not train)(hidden)
        heads = GCNConv(2 * width, kernel_init=head_init, name='heads', **options)
        return graph._replace(nodes=heads(ready._replace(nodes=hidden)).nodes)
