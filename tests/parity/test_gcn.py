"""GCNConv, GCN and SGConv against torch_geometric, on every kind of graph its self-loop and degree rules tell apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch_geometric.nn as pyg
from parity_ledger import compare
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops

from levels.level7_advanced.graphs import graph as G
from levels.level7_advanced.graphs.gcn import GCN, GCNConv, SGConv

NODES, WORDS, OUT = 12, 7, 5


def edges(kind):
    """(edge_index, weights or None).  Node 11 is isolated in all of them."""
    rng = np.random.default_rng(3)
    pairs = np.array([(i, j) for i in range(NODES - 1) for j in range(NODES - 1) if i != j and rng.random() < 0.25]).T
    if 'loops' in kind:
        pairs = np.concatenate([pairs, [[2, 5, 7], [2, 5, 7]]], axis=1)
    if 'directed' not in kind.split():
        pairs = G.undirected(pairs)
    order = rng.permutation(pairs.shape[1])     # loops in the middle of the list
    weight = rng.uniform(0.1, 2.0, pairs.shape[1]) if 'weighted' in kind else None
    return pairs[:, order], weight


KINDS = ('undirected', 'directed', 'undirected loops', 'directed loops', 'weighted', 'weighted directed',
         'weighted directed loops', 'empty')


def case(kind, bits):
    index, weight = (np.zeros((2, 0), int), None) if kind == 'empty' else edges(kind)
    dtype = f'float{bits}'
    x = np.random.default_rng(0).normal(size=(NODES, WORDS)).astype(dtype)
    x[np.random.default_rng(1).random(x.shape) < 0.5] = 0       # so that a bag of it is sparse
    return index, None if weight is None else weight.astype(dtype), x


def bag(x):
    row, column = np.nonzero(x)
    return G.Bag(jnp.asarray(row), jnp.asarray(column), jnp.asarray(x[row, column]), x.shape)


def both(ours, theirs, params, kind, bits, sparse=False):
    """(our output, theirs), and of the loss sum(sin(output) c) the gradients by parameters and by edge weights."""
    index, weight, x = case(kind, bits)
    tw = None if weight is None else torch.tensor(weight, requires_grad=True)
    y = theirs(torch.tensor(x), torch.tensor(index, dtype=torch.long), tw)
    c = np.random.default_rng(5).normal(size=y.shape).astype(x.dtype)
    (y.sin() * torch.tensor(c)).sum().backward()

    def loss(params, w):
        g = G.from_edges(index, jnp.asarray(x))._replace(edges=w, nodes=bag(x) if sparse else jnp.asarray(x))
        out = ours.apply({'params': params}, g).nodes
        return jnp.sum(jnp.sin(out) * c), out

    w = None if weight is None else jnp.asarray(weight)
    (_, out), (grads, by_weight) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, w)
    assert out.dtype == x.dtype
    return (out, y.detach().numpy()), grads, (by_weight, None if tw is None else tw.grad.numpy())


@pytest.mark.parametrize('sparse', [False, True], ids=['dense', 'bag'])
@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('kind', KINDS)
def test_gcn_conv_equals_pyg(kind, bits, sparse):
    torch.manual_seed(0)
    theirs = pyg.GCNConv(WORDS, OUT).to(getattr(torch, f'float{bits}'))
    torch.nn.init.normal_(theirs.bias)
    with jax.enable_x64(bits == 64):
        params = {'kernel': jnp.asarray(theirs.lin.weight.detach().numpy().T),
                  'bias': jnp.asarray(theirs.bias.detach().numpy())}
        ours = GCNConv(OUT, param_dtype=params['bias'].dtype)
        outputs, grads, by_weight = both(ours, theirs, params, kind, bits, sparse)
        name = f'{kind}, {"bag" if sparse else "dense"} features, f{bits}'
        compare('GCNConv', 'torch_geometric.nn.GCNConv', f'output, {name}', *outputs, 1e-6 if bits == 32 else 1e-12)
        assert np.isfinite(outputs[0]).all()
        if bits == 64:
            peer = {'kernel': theirs.lin.weight.grad.numpy().T, 'bias': theirs.bias.grad.numpy()}
            compare('GCNConv', 'torch_geometric.nn.GCNConv', f'gradients, {name}', grads, peer, 1e-9, relative=True)
            if by_weight[0] is not None:
                compare('GCNConv', 'torch_geometric.nn.GCNConv', f'gradient by edge weight, {name}', *by_weight, 1e-9,
                        relative=True)


@pytest.mark.parametrize('kind', KINDS)
def test_sg_conv_equals_pyg(kind):
    torch.manual_seed(1)
    theirs = pyg.SGConv(WORDS, OUT, K=3).double()
    with jax.enable_x64(True):
        params = {'kernel': jnp.asarray(theirs.lin.weight.detach().numpy().T),
                  'bias': jnp.asarray(theirs.lin.bias.detach().numpy())}
        outputs, grads, by_weight = both(SGConv(OUT, hops=3), theirs, params, kind, 64)
        compare('SGConv', 'torch_geometric.nn.SGConv', f'output, {kind}', *outputs, 1e-12)
        peer = {'kernel': theirs.lin.weight.grad.numpy().T, 'bias': theirs.lin.bias.grad.numpy()}
        compare('SGConv', 'torch_geometric.nn.SGConv', f'gradients, {kind}', grads, peer, 1e-9, relative=True)
        if by_weight[0] is not None:
            compare('SGConv', 'torch_geometric.nn.SGConv', f'gradient by edge weight, {kind}', *by_weight, 1e-9,
                    relative=True)


def test_a_stack_equals_pyg_and_normalises_once():
    torch.manual_seed(2)
    layers = [pyg.GCNConv(a, b).double() for a, b in ((WORDS, 6), (6, 4), (4, 3))]

    def theirs(x, index, weight):
        for i, layer in enumerate(layers):
            x = layer(x, index, weight)
            x = x.relu() if i < 2 else x
        return x

    with jax.enable_x64(True):
        params = {f'conv_{i}': {'kernel': jnp.asarray(m.lin.weight.detach().numpy().T),
                                'bias': jnp.zeros(m.out_channels)} for i, m in enumerate(layers)}
        model = GCN((6, 4, 3))
        outputs, grads, by_weight = both(model, theirs, params, 'weighted directed loops', 64)
        compare('GCN', 'torch_geometric.nn.GCNConv, stacked', 'output', *outputs, 1e-12)
        peer = {f'conv_{i}': {'kernel': m.lin.weight.grad.numpy().T, 'bias': m.bias.grad.numpy()}
                for i, m in enumerate(layers)}
        compare('GCN', 'torch_geometric.nn.GCNConv, stacked', 'gradients', grads, peer, 1e-9, relative=True)
        compare('GCN', 'torch_geometric.nn.GCNConv, stacked', 'gradient by edge weight', *by_weight, 1e-9,
                relative=True)
        index, weight, x = case('weighted', 64)
        text = str(jax.make_jaxpr(lambda g: model.apply({'params': params}, g).nodes)(
            G.from_edges(index, jnp.asarray(x), weight)))
        assert text.count('rsqrt') == 1


@pytest.mark.parametrize('loops', [False, True])
@pytest.mark.parametrize('kind', KINDS)
def test_symmetric_weights_equal_gcn_norm(kind, loops):
    index, weight, x = case(kind, 64)
    tw = None if weight is None else torch.tensor(weight)
    at, w = gcn_norm(torch.tensor(index, dtype=torch.long), tw, NODES, add_self_loops=loops, dtype=torch.float64)
    dense = np.zeros((NODES, NODES))
    np.add.at(dense, (at[1].numpy(), at[0].numpy()), w.numpy())
    with jax.enable_x64(True):
        g = G.normalise(G.from_edges(index, jnp.asarray(x), weight), self_loops=loops)
        compare('normalise', 'torch_geometric gcn_norm', f'weights, {kind}, loops {loops}', G.adjacency(g), dense,
                1e-14)


@pytest.mark.parametrize('kind', KINDS)
def test_row_weights_equal_a_mean_over_neighbours(kind):
    """PyG has no row-normalised GCNConv; its mean aggregation over the same edges is that for weights of 1."""
    index, weight, x = case(kind, 64)
    with jax.enable_x64(True):
        g = G.normalise(G.from_edges(index, jnp.asarray(x), weight), 'row')
        at, w = add_remaining_self_loops(torch.tensor(index, dtype=torch.long),
                                         None if weight is None else torch.tensor(weight), 1.0, NODES)
        dense = np.zeros((NODES, NODES))
        np.add.at(dense, (at[1].numpy(), at[0].numpy()), 1.0 if w is None else w.numpy())
        dense = dense / dense.sum(1, keepdims=True)
        compare('normalise', 'NumPy', f'row weights, {kind}', G.adjacency(g), dense, 1e-14)
        if weight is None:
            mean = pyg.SAGEConv(WORDS, WORDS, aggr='mean', root_weight=False, bias=False).double()
            mean.lin_l.weight.data = torch.eye(WORDS).double()
            compare('normalise', 'torch_geometric.nn.SAGEConv(mean)', f'row average, {kind}',
                    G.propagate(g, jnp.asarray(x)), mean(torch.tensor(x), at).detach().numpy(), 1e-12)


def test_the_graphs_are_what_their_names_say():
    a = lambda kind: np.asarray(G.adjacency(G.from_edges(*case(kind, 32)[:1], jnp.ones((NODES, 1)))))
    assert (a('undirected') == a('undirected').T).all() and (a('directed') != a('directed').T).any()
    assert not a('undirected').diagonal().any() and a('directed loops').diagonal().sum() == 3
    assert all(not a(kind)[11].any() and not a(kind)[:, 11].any() for kind in KINDS)
    # the rule itself: a loop of weight 1 that is there already is the loop that would be added
    plain, looped = (G.adjacency(G.normalise(G.from_edges(case(k, 32)[0], jnp.ones((NODES, 1)))))
                     for k in ('directed', 'directed loops'))
    assert np.array_equal(plain, looped)
