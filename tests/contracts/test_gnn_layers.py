"""The laws of every graph layer in the catalogue.  A new layer must add its case here, or the count fails."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.catalogue import load, members
from levels.level7_advanced.graphs import graph as G

NODES, WORDS, ALONE = 10, 6, 9


class Case(NamedTuple):
    """How to build a member, and what it computes, with dense matrices in NumPy."""
    fields: dict[str, Any]
    oracle: Callable    # (params, S, X) -> nodes, S the dense normalised adjacency matrix


def stack(params, s, x):
    hidden = np.tanh(s @ x @ params['conv_0']['kernel'] + params['conv_0']['bias'])
    return s @ hidden @ params['conv_1']['kernel'] + params['conv_1']['bias']


def heads(params, s, x):
    hidden = np.tanh(s @ x @ params['shared']['conv_0']['kernel'] + params['shared']['conv_0']['bias'])
    return s @ hidden @ params['heads']['kernel'] + params['heads']['bias']


CASES = {
    'GCNConv': Case({'features': 4}, lambda p, s, x: s @ x @ p['kernel'] + p['bias']),
    'SGConv': Case({'features': 4, 'hops': 3}, lambda p, s, x: s @ s @ s @ x @ p['kernel'] + p['bias']),
    'GCN': Case({'features': (5, 3), 'activation': 'tanh'}, stack),
    'VariationalGCN': Case({'features': (5, 3), 'activation': 'tanh'}, heads),
}


def build(row, **fields):
    model, g = load(row)(**CASES[row.name].fields | fields), example()
    params = jax.jit(model.init)(jax.random.key(0), g)['params']
    keys = iter(jax.random.split(jax.random.key(9), 20))
    return model, g, jax.tree.map(lambda p: p + 0.3 * jax.random.normal(next(keys), p.shape, p.dtype), params)


def example(loops=True):
    """A directed, weighted graph with two loops, and a node that nothing touches."""
    rng = np.random.default_rng(2)
    pairs = np.array([(i, j) for i in range(ALONE) for j in range(ALONE) if i != j and rng.random() < 0.3]).T
    pairs = np.concatenate([pairs, [[1, 4], [1, 4]]], axis=1) if loops else pairs
    x = rng.normal(size=(NODES, WORDS)).astype('float32')
    return G.from_edges(pairs, jnp.asarray(x), rng.uniform(0.2, 2.0, pairs.shape[1]).astype('float32'))


def reference(g, norm='sym'):
    """The normalised adjacency matrix, by the formulas, in float64 and without any function under test."""
    a = np.zeros((NODES, NODES))
    for sender, receiver, weight in zip(*map(np.asarray, (g.senders, g.receivers, g.edges))):
        a[receiver, sender] += weight
    a[np.diag_indices(NODES)] += np.where(a.diagonal() == 0, 1, 0)
    d = a.sum(1)
    return a / d[:, None] if norm == 'row' else a / np.sqrt(d[:, None] * d[None])


def apply(model, params, g, **kwargs):
    return jax.jit(lambda p, g: model.apply({'params': p}, g, **kwargs))(params, g)


def close(a, b, gate=2e-5):
    assert a.shape == b.shape and np.abs(np.asarray(a, np.float64) - b).max() <= gate * max(1, np.abs(b).max())


def dense_oracle(row):
    """Its dense formula, for both normalisations, on dense and on sparse features; only the nodes change."""
    for norm in ('sym', 'row'):
        model, g, params = build(row, norm=norm)
        expected = CASES[row.name].oracle(jax.tree.map(np.asarray, params), reference(g, norm), np.asarray(g.nodes))
        out = apply(model, params, g)
        close(out.nodes, expected)
        assert np.array_equal(out.senders, g.senders) and np.array_equal(out.edges, g.edges)
        x = np.where(np.random.default_rng(0).random(g.nodes.shape) < 0.5, 0, np.asarray(g.nodes))
        row_, column = np.nonzero(x)
        bag = G.Bag(jnp.asarray(row_), jnp.asarray(column), jnp.asarray(x[row_, column]), x.shape)
        assert len(row_) < x.size and np.array_equal(bag.dense(), x)
        close(apply(model, params, g._replace(nodes=bag)).nodes, apply(model, params, g._replace(nodes=x)).nodes)


def permutation_equivariant(row):
    """Other names for the nodes and another order of the edges: the same result under the new names."""
    model, g, params = build(row)
    new = np.random.default_rng(4).permutation(NODES)           # node i is now called new[i]
    order = np.random.default_rng(5).permutation(len(g.senders))
    moved = g._replace(nodes=jnp.zeros_like(g.nodes).at[new].set(g.nodes), senders=new[g.senders][order],
                       receivers=new[g.receivers][order], edges=g.edges[order])
    out = apply(model, params, g).nodes
    close(apply(model, params, moved).nodes[new], out)
    assert np.abs(out[new] - out).max() > 0.1, 'nodes that are all alike would show nothing'


def padding_changes_no_real_node(row):
    model, g, params = build(row)
    for weighted in (g, g._replace(edges=None)):
        padded = G.pad(weighted, n_nodes=16, n_edges=64)
        out = apply(model, params, padded)
        assert np.array_equal(np.flatnonzero(G.node_mask(padded)), range(NODES))
        assert G.edge_mask(padded).sum() == len(g.senders) and padded.n_node.tolist() == [NODES, 6]
        close(out.nodes[:NODES], apply(model, params, weighted).nodes, 1e-6)
        assert jnp.isfinite(out.nodes).all()


def isolated_nodes_are_finite(row):
    """With and without loops: values, and gradients by parameters, features and weights."""
    for self_loops in (True, False):
        model, g, params = build(row, self_loops=self_loops)
        for nodes, edges in ((g.nodes, g.edges), (g.nodes, 0 * g.edges)):
            def loss(p, nodes, edges, model=model, g=g):
                return jnp.sum(jnp.sin(model.apply({'params': p}, g._replace(nodes=nodes, edges=edges)).nodes))
            value, grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(params, nodes, edges)
            assert jnp.isfinite(value) and all(jnp.isfinite(x).all() for x in jax.tree.leaves(grads))
        out = apply(model, params, g).nodes
        rest = apply(model, params, g._replace(nodes=g.nodes.at[:ALONE].set(7.0))).nodes
        assert np.array_equal(out[ALONE], rest[ALONE]), 'it hears nothing of the others'


def form(row):
    """One graph, `train` by keyword and False; dtype and param_dtype; jit changes nothing; bad input is said."""
    model, g, params = build(row)
    call = inspect.signature(type(model).__call__).parameters
    assert call['train'].kind is inspect.Parameter.KEYWORD_ONLY and call['train'].default is False
    assert list(call)[1:] == ['graph', 'train']
    out = model.apply({'params': params}, g)
    assert type(out) is G.Graph
    close(apply(model, params, g).nodes, out.nodes, 1e-6)
    close(apply(model, params, g, train=True).nodes, out.nodes, 1e-6)
    half = apply(build(row, dtype=jnp.bfloat16)[0], params, g).nodes
    assert half.dtype == jnp.bfloat16
    assert 0 < np.abs(np.float32(half) - out.nodes).max() < 0.05 * np.abs(out.nodes).max()
    narrow = build(row, param_dtype=jnp.bfloat16)[2]
    assert {x.dtype for x in jax.tree.leaves(narrow)} == {jnp.dtype('bfloat16')}
    columns = g._replace(edges=g.edges[:, None])
    for bad, graph, message in (({'norm': 'both'}, g, 'kind: expected'), ({}, columns, 'edges: expected None or one')):
        with pytest.raises(ValueError, match=message):
            load(row)(**CASES[row.name].fields | bad).init(jax.random.key(0), graph)


LAWS = (dense_oracle, permutation_equivariant, padding_changes_no_real_node, isolated_nodes_are_finite, form)
PAIRS = [(row, law) for row in members(kind='gnn layer') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='gnn layer')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 20
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
