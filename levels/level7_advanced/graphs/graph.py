"""Graphs as arrays: the type, sparse node features, padding, self-loops and the normalisations of an adjacency matrix.

A `Graph` has the fields of `jraph.GraphsTuple`, in its order, so jraph's functions take it; jraph itself, whose
repository is archived, is not imported.  An edge runs from `senders[e]` to `receivers[e]`; as a matrix,
A[receiver, sender] is the edge's weight.  `edges` holds the weights [edges], or None where all are 1.

    g = from_edges(np.array([[0, 1, 1, 2], [1, 0, 2, 1]]), nodes=x)     # PyG's edge_index: senders, receivers
    g = pad(g, n_nodes=8, n_edges=16)                                   # equal shapes for graphs of unequal size
"""
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


@flax.struct.dataclass
class Bag:
    """Sparse node features (words of a text, say): the matrix whose entry [row_i, column_i] is value_i.

    Never made dense: 49,216 numbers for Cora's words in place of 3.9 million.  A dataclass and not a NamedTuple, as
    the number of words is no array: it decides the shape of a kernel.
    """
    row: Int[Array, ' entries']
    column: Int[Array, ' entries']
    value: Float[Array, ' entries']
    shape: tuple[int, int] = flax.struct.field(pytree_node=False)

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    def __matmul__(self, kernel: Float[Array, 'words features']) -> Float[Array, 'nodes features']:
        """Bag @ kernel: for each entry a row of the kernel, added up by node."""
        parts = self.value[:, None] * kernel[self.column]
        return jax.ops.segment_sum(parts, self.row, self.shape[0])

    def dense(self) -> Float[Array, 'nodes words']:
        """The whole matrix, for looking at and for tests."""
        return jnp.zeros(self.shape, self.dtype).at[self.row, self.column].add(self.value)


class Graph(NamedTuple):
    """One graph, or several side by side (`n_node`, `n_edge` say how many nodes and edges are whose)."""
    nodes: Float[Array, 'nodes features'] | Bag
    edges: Float[Array, ' edges'] | None
    receivers: Int[Array, ' edges']
    senders: Int[Array, ' edges']
    globals: Any
    n_node: Int[Array, ' graphs']
    n_edge: Int[Array, ' graphs']


def n_nodes(graph: Graph) -> int:
    """Rows of `nodes`, padding included: a static number."""
    return graph.nodes.shape[0]


def weights(graph: Graph) -> Float[Array, ' edges']:
    """The edges' weights; ones where the graph states none, in float32 at least: bfloat16 cannot count to 300."""
    if graph.edges is None:
        return jnp.ones(graph.senders.shape, jnp.promote_types(graph.nodes.dtype, jnp.float32))
    return graph.edges


def from_edges(edge_index: Int[np.ndarray, '2 edges'], nodes: Float[Array, 'nodes features'] | Bag,
               weight: Float[Array, ' edges'] | None = None) -> Graph:
    """A graph from (senders, receivers), in the order given.  An undirected graph has both directions of each edge.

    Raises ValueError for another shape, a node that does not exist, weights of another length, two loops at one node
    (which of their weights counts is nowhere defined).
    """
    index = np.asarray(edge_index)
    if index.ndim != 2 or len(index) != 2 or index.dtype.kind not in 'iu':
        raise ValueError(f'edge_index: expected integers [2, edges], found {index.dtype} {list(index.shape)}')
    if index.size and not 0 <= index.min() <= index.max() < nodes.shape[0]:
        raise ValueError(f'edge_index: expected nodes 0 to {nodes.shape[0] - 1}, found {index.min()} to {index.max()}')
    if weight is not None and np.shape(weight) != index.shape[1:]:
        raise ValueError(f'weight: expected one for each of {index.shape[1]} edges, found shape {np.shape(weight)}')
    loops = index[0][index[0] == index[1]]
    if len(np.unique(loops)) != len(loops):
        raise ValueError('edge_index: expected at most one loop at a node, found several at '
                         f'{np.bincount(loops).argmax()}')
    count = lambda n: jnp.array([n], jnp.int32)
    return Graph(nodes, None if weight is None else jnp.asarray(weight), jnp.asarray(index[1], jnp.int32),
                 jnp.asarray(index[0], jnp.int32), None, count(nodes.shape[0]), count(index.shape[1]))


def undirected(edge_index: Int[np.ndarray, '2 edges']) -> Int[np.ndarray, '2 both']:
    """Both directions of every edge, once each, loops once, in order of receiver and sender."""
    both = np.concatenate([edge_index, edge_index[::-1]], axis=1)
    return np.unique(both[::-1], axis=1)[::-1]


def pad(graph: Graph, *, n_nodes: int, n_edges: int) -> Graph:
    """Adds one graph of the missing nodes and edges, so that graphs of unequal size share one compiled program.

    Padding edges are loops at the first padding node: no message of theirs reaches a real node.  Raises ValueError
    when the graph is larger, or when edges are missing and there is no padding node to put them at.
    """
    nodes, edges = graph.nodes.shape[0], len(graph.senders)
    more, loops = n_nodes - nodes, n_edges - edges
    if more < 0 or loops < 0 or (loops and not more):
        raise ValueError(f'n_nodes, n_edges: expected at least {nodes} and {edges}, and more nodes wherever there are '
                         f'more edges, found {n_nodes} and {n_edges}')
    if isinstance(graph.nodes, Bag):
        rows = graph.nodes.replace(shape=(n_nodes, graph.nodes.shape[1]))
    else:
        rows = jnp.concatenate([graph.nodes, jnp.zeros((more, *graph.nodes.shape[1:]), graph.nodes.dtype)])
    at = lambda ends: jnp.concatenate([ends, jnp.full(loops, nodes, ends.dtype)])
    weight = None if graph.edges is None else jnp.concatenate([graph.edges, jnp.zeros(loops, graph.edges.dtype)])
    count = lambda counts, n: jnp.concatenate([counts, jnp.array([n], counts.dtype)])
    return graph._replace(nodes=rows, edges=weight, receivers=at(graph.receivers), senders=at(graph.senders),
                          n_node=count(graph.n_node, more), n_edge=count(graph.n_edge, loops))


def node_mask(graph: Graph) -> Bool[Array, ' nodes']:
    """Which nodes of a graph from `pad` are real: all but those of the last graph."""
    return jnp.arange(n_nodes(graph)) < n_nodes(graph) - graph.n_node[-1]


def edge_mask(graph: Graph) -> Bool[Array, ' edges']:
    """Which edges of a graph from `pad` are real."""
    edges = len(graph.senders)
    return jnp.arange(edges) < edges - graph.n_edge[-1]


def with_self_loops(graph: Graph, fill: float = 1.0) -> Graph:
    """One loop at every node: those that are there keep their weight, the others get `fill`.

    PyG's rule (`add_remaining_self_loops`); jraph's adds a second loop where there is one.  Shapes stay static: the
    old loops remain in their places with weight 0, and n new ones follow.
    """
    n, weight = n_nodes(graph), weights(graph)
    loop = graph.senders == graph.receivers
    has = jnp.zeros(n, bool).at[graph.receivers].max(loop)
    own = jax.ops.segment_sum(jnp.where(loop, weight, 0), graph.receivers, n)
    every = jnp.arange(n, dtype=graph.senders.dtype)
    more = jnp.where(has, own, jnp.asarray(fill, weight.dtype))
    return graph._replace(edges=jnp.concatenate([jnp.where(loop, 0, weight), more]), n_edge=graph.n_edge + graph.n_node,
                          senders=jnp.concatenate([graph.senders, every]),
                          receivers=jnp.concatenate([graph.receivers, every]))


def degree(graph: Graph) -> Float[Array, ' nodes']:
    """Sum of the weights of the edges that arrive at each node."""
    return jax.ops.segment_sum(weights(graph), graph.receivers, n_nodes(graph))


def normalise(graph: Graph, kind: str = 'sym', *, self_loops: bool = True) -> Graph:
    """The graph with the weights of a normalised adjacency matrix.

    'sym': D^-1/2 A D^-1/2, 'row': D^-1 A (each node averages what it receives), 'none': A; D is the diagonal of the
    sums of arriving weights, on both sides, also where the graph is directed, as in PyG.  A node whose sum is 0 gets
    zeros, and finite gradients.  Source: Kipf and Welling 2017, section 2 (self-loops: equation 2).
    """
    if kind not in ('sym', 'row', 'none'):
        raise ValueError(f"kind: expected 'sym', 'row' or 'none', found {kind!r}")
    graph = with_self_loops(graph) if self_loops else graph
    weight, at = weights(graph), degree(graph)
    some = at > 0
    safe = jnp.where(some, at, 1)       # inside as well: a where outside alone would let NaN into the gradient
    if kind == 'sym':
        scale = jnp.where(some, jax.lax.rsqrt(safe), 0)
        weight = scale[graph.receivers] * weight * scale[graph.senders]
    elif kind == 'row':
        weight = jnp.where(some, 1 / safe, 0)[graph.receivers] * weight
    return graph._replace(edges=weight)


def propagate(graph: Graph, values: Float[Array, 'nodes features']) -> Float[Array, 'nodes features']:
    """A @ values, A[receiver, sender] = weight: each node adds up what arrives."""
    parts = weights(graph)[:, None].astype(values.dtype) * values[graph.senders]
    return jax.ops.segment_sum(parts, graph.receivers, n_nodes(graph))


def adjacency(graph: Graph) -> Float[Array, 'nodes nodes']:
    """A as a dense matrix: the oracle of the tests."""
    n = n_nodes(graph)
    return jnp.zeros((n, n), weights(graph).dtype).at[graph.receivers, graph.senders].add(weights(graph))
