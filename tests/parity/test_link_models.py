"""Decoders, GAE and VGAE against torch and torch_geometric: scores, losses, gradients through the whole model."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
import torch_geometric.nn as pyg
from parity_ledger import compare

from common import data, loop, strategies
from common.optim import Fit
from levels.level7_advanced.graphs import graph as G
from levels.level7_advanced.graphs.gcn import GCN, VariationalGCN
from levels.level7_advanced.graphs.link_prediction import SAMPLE, DotDecoder, MLPDecoder, decode, encode, link_task
from levels.level7_advanced.graphs.links import candidates, canonical, draw_negatives, known_ids, uniform_negatives
from levels.level7_advanced.graphs.variational import kl_to_normal, posterior, reparametrise

NODES, WORDS, HIDDEN, OUT = 14, 7, 6, 4
KEY = jax.random.key(11)


def links():
    rng = np.random.default_rng(3)
    return canonical(np.stack(np.triu_indices(NODES, 1), axis=1)[rng.random(NODES * (NODES - 1) // 2) < 0.3])


def example(dtype, given=True):
    """A batch of our task; `given`: with negatives."""
    positive = links()
    both = np.concatenate([positive, positive[:, ::-1]]).T
    x = np.random.default_rng(0).normal(size=(NODES, WORDS)).astype(dtype)
    batch = {'graph': G.from_edges(both, jnp.asarray(x)), 'positive': jnp.asarray(positive, jnp.int32),
             'known': jnp.asarray(known_ids(positive, NODES))}
    if given:
        batch['negative'] = jnp.asarray(uniform_negatives(positive, NODES, len(positive)), jnp.int32)
    return batch


def torch_batch(batch):
    """(features, edge_index, positive and negative edges) of the same batch."""
    g, as_index = batch['graph'], lambda pairs: torch.tensor(np.asarray(pairs), dtype=torch.long).T
    index = torch.tensor(np.stack([g.senders, g.receivers]), dtype=torch.long)
    return torch.tensor(np.asarray(g.nodes)), index, as_index(batch['positive']), as_index(batch['negative'])


class Encoder(torch.nn.Module):
    """One shared convolution and as many heads as outputs are asked for."""

    def __init__(self, heads):
        super().__init__()
        self.first = pyg.GCNConv(WORDS, HIDDEN)
        self.heads = torch.nn.ModuleList([pyg.GCNConv(HIDDEN, OUT) for _ in range(heads)])
        for layer in (self.first, *self.heads):
            torch.nn.init.normal_(layer.bias, std=0.3)

    def forward(self, x, index):
        hidden = self.first(x, index).relu()
        found = tuple(head(hidden, index) for head in self.heads)
        return found if len(found) > 1 else found[0]


def ours(get, net):
    """Our encoder's parameters, or with the other `get` their gradients, from torch_geometric's layers."""
    layer = lambda *many: {
        'kernel': jnp.asarray(np.concatenate([get(m.lin.weight).T for m in many], axis=1)),
        'bias': jnp.asarray(np.concatenate([get(m.bias) for m in many]))}
    if len(net.heads) == 1:
        return {'conv_0': layer(net.first), 'conv_1': layer(net.heads[0])}
    return {'shared': {'conv_0': layer(net.first)}, 'heads': layer(*net.heads)}


WEIGHT, GRADIENT = (lambda p: p.detach().numpy()), (lambda p: p.grad.numpy())


def pair_of_models(variational, bits):
    """(torch_geometric's model, our task with plain gradient steps of rate 1, its state), of equal weights."""
    torch.manual_seed(1)
    net = Encoder(2 if variational else 1)
    peer = (pyg.VGAE if variational else pyg.GAE)(net)
    net.load_state_dict({k: v + 0.1 * torch.randn_like(v) for k, v in net.state_dict().items()})
    peer = peer.to(getattr(torch, f'float{bits}'))
    dtype = jnp.dtype(f'float{bits}')
    encoder = (VariationalGCN if variational else GCN)((HIDDEN, OUT), param_dtype=dtype)
    tx = optax.sgd(1.0)
    # torch_geometric's loss is the sum of two means, ours the mean over both: half of it, and so is the divergence
    task = link_task(encoder, DotDecoder(param_dtype=dtype), tx, kl_weight=0.5 if variational else None)
    params = {'encoder': ours(WEIGHT, net), 'decoder': {'scale': jnp.ones((), dtype), 'shift': jnp.zeros((), dtype)}}
    return net, peer, encoder, task, Fit(params, {}, tx.init(params))


def loss(metrics):
    return metrics['loss'].total / metrics['loss'].weight


@pytest.mark.parametrize('bits', [32, 64])
def test_gae_equals_pyg(bits):
    with jax.enable_x64(bits == 64):
        net, peer, _, task, state = pair_of_models(False, bits)
        batch = example(f'float{bits}')
        x, index, positive, negative = torch_batch(batch)
        theirs = peer.recon_loss(peer.encode(x, index), positive, negative)
        theirs.backward()
        new, metrics = jax.jit(task.step)(KEY, state, batch)
        half = 0.5 * np.asarray(theirs.detach())
        compare('link_task', 'torch_geometric.nn.GAE', f'recon_loss, f{bits}', loss(metrics), half, 1e-6)
        compare('link_task', 'torch_geometric.nn.GAE', f'recon_loss, evaluated, f{bits}',
                loss(task.evaluate(KEY, state, batch)), half, 1e-6)
        if bits == 64:
            grads = jax.tree.map(lambda a, b: a - b, state.params['encoder'], new.params['encoder'])
            compare('link_task', 'torch_geometric.nn.GAE', 'gradients, f64', grads,
                    jax.tree.map(lambda g: 0.5 * g, ours(GRADIENT, net)), 1e-9, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
def test_vgae_equals_pyg(bits, monkeypatch):
    """Both are given the same noise: ours is the normal draw of the step's own stream."""
    with jax.enable_x64(bits == 64):
        net, peer, encoder, task, state = pair_of_models(True, bits)
        batch = example(f'float{bits}')
        x, index, positive, negative = torch_batch(batch)
        zero = jnp.zeros((NODES, OUT), f'float{bits}')
        noise = np.asarray(reparametrise(jax.random.fold_in(KEY, SAMPLE), zero, zero))
        monkeypatch.setattr(torch, 'randn_like', lambda like: torch.tensor(noise).reshape(like.shape))
        peer.train()
        z = peer.encode(x, index)
        theirs = peer.recon_loss(z, positive, negative) + peer.kl_loss() / NODES
        theirs.backward()
        new, metrics = jax.jit(task.step)(KEY, state, batch)
        name = 'torch_geometric.nn.VGAE'
        mean, log_std = posterior(encoder.apply({'params': state.params['encoder']}, batch['graph']).nodes)
        compare('VariationalGCN', name, f'mean and log deviation, f{bits}', (mean, log_std),
                (WEIGHT(peer.__mu__), WEIGHT(peer.__logstd__)), 1e-6 if bits == 32 else 1e-12)
        sample = reparametrise(jax.random.fold_in(KEY, SAMPLE), mean, log_std)
        compare('reparametrise', name, f'sample, f{bits}', sample, WEIGHT(z), 2e-6 if bits == 32 else 1e-12)
        compare('kl_to_normal', name, f'kl_loss, f{bits}', metrics['kl'].total / metrics['kl'].weight,
                WEIGHT(peer.kl_loss()), 1e-6)
        compare('link_task', name, f'recon_loss + kl_loss / n, f{bits}', loss(metrics), 0.5 * WEIGHT(theirs), 1e-6)
        if bits == 64:
            grads = jax.tree.map(lambda a, b: a - b, state.params['encoder'], new.params['encoder'])
            compare('link_task', name, 'gradients, f64', grads,
                    jax.tree.map(lambda g: 0.5 * g, ours(GRADIENT, net)), 1e-9, relative=True)
        # evaluated at the mean, whatever the key
        peer.eval()
        quiet = peer.recon_loss(peer.encode(x, index), positive, negative) + peer.kl_loss() / NODES
        seen = [loss(task.evaluate(jax.random.key(i), state, batch)) for i in (0, 1)]
        assert seen[0] == seen[1] and abs(float(quiet.detach()) - float(theirs.detach())) > 1e-2
        compare('link_task', name, f'evaluated at the mean, f{bits}', seen[0], 0.5 * WEIGHT(quiet), 1e-6)
        z = encode(encoder, state.params, batch['graph'], variational=True)
        assert np.array_equal(z, mean) and z.shape == (NODES, OUT)


@pytest.mark.parametrize('bits', [32, 64])
def test_kl_and_its_gradients_on_given_tensors(bits):
    """Log deviations beyond 10 included, where torch_geometric clamps them."""
    rng = np.random.default_rng(4)
    mean, log_std = (s * rng.normal(size=(9, 5)).astype(f'float{bits}') for s in (1.0, 0.7))
    with jax.enable_x64(bits == 64):
        for name, most in (('', log_std), (', clamped', np.where(log_std > 1, 12, log_std).astype(log_std.dtype))):
            m, s = torch.tensor(mean, requires_grad=True), torch.tensor(most, requires_grad=True)
            theirs = pyg.VGAE(torch.nn.Identity()).kl_loss(m, s)
            theirs.backward()

            def kl(nodes):
                return kl_to_normal(*posterior(nodes))

            value, grad = jax.jit(jax.value_and_grad(kl))(jnp.concatenate([mean, most], axis=1))
            peer = WEIGHT(theirs)
            compare('kl_to_normal', 'torch_geometric.nn.VGAE', f'given tensors{name}, f{bits}', value, peer, 1e-6,
                    relative=True)
            if bits == 64:
                compare('kl_to_normal', 'torch_geometric.nn.VGAE', f'gradients{name}, f64', grad,
                        np.concatenate([GRADIENT(m), GRADIENT(s)], axis=1), 1e-9, relative=True)


def test_posterior_and_kl_in_half_precision():
    with pytest.raises(ValueError, match=r'nodes: expected \[nodes, 2 d\]'):
        posterior(jnp.zeros((3, 5)))
    mean, log_std = posterior(jnp.concatenate([jnp.full((2, 3), 2.0), jnp.full((2, 3), 99.0)], 1).astype('bfloat16'))
    assert mean.dtype == jnp.bfloat16 and log_std.max() == 10
    assert kl_to_normal(mean, log_std).dtype == jnp.float32 and jnp.isfinite(kl_to_normal(mean, log_std))


def test_a_sample_is_normal_and_belongs_to_its_key():
    mean, log_std = jnp.full((40_000, 2), 3.0), jnp.tile(jnp.log(jnp.array([[0.5, 2.0]])), (40_000, 1))
    a, b, c = (reparametrise(jax.random.key(i), mean, log_std) for i in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert np.allclose(a.mean(0), 3, atol=0.04) and np.allclose(a.std(0), [0.5, 2.0], rtol=0.02)


def test_each_head_begins_as_if_it_stood_alone():
    g = G.from_edges(np.array([[0, 1], [1, 0]]), jnp.ones((3, 40)))
    kernel = VariationalGCN((60, 30)).init(jax.random.key(0), g)['params']['heads']['kernel']
    most = np.sqrt(6 / (60 + 30))       # Glorot's bound of a layer of 60 and 30, not of 60 and 60
    assert kernel.shape == (60, 60) and 0.98 * most < np.abs(kernel).max() <= most
    assert not np.array_equal(kernel[:, :30], kernel[:, 30:])
    with pytest.raises(ValueError, match='features: expected two widths or more'):
        VariationalGCN((3,)).init(jax.random.key(0), g)


def decoder_case(bits):
    rng = np.random.default_rng(7)
    return rng.normal(size=(9, OUT)).astype(f'float{bits}'), rng.integers(0, 9, (20, 2)), rng.normal(size=20)


def both_gradients(model, params, z, pairs, c):
    """Our logits, and of sum(c sin(logits)) the gradients by parameters and nodes."""
    def scalar(params, z):
        logits = model.apply({'params': params}, z, pairs)
        return jnp.sum(c * jnp.sin(logits)), logits
    (_, logits), grads = jax.jit(jax.value_and_grad(scalar, (0, 1), has_aux=True))(params, z)
    return logits, grads


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('cosine', [False, True], ids=['dot', 'cosine'])
def test_dot_decoder(cosine, bits):
    """Scale 1 and shift 0 are torch_geometric's; others, and the cosine, the formula in torch."""
    z, pairs, c = decoder_case(bits)
    with jax.enable_x64(bits == 64):
        for scale, shift in ((1.0, 0.0), (0.7, -0.4)):
            tz, a, b = (torch.tensor(np.asarray(v, z.dtype), requires_grad=True) for v in (z, scale, shift))
            index = torch.tensor(pairs, dtype=torch.long).T
            if cosine:
                unit = tz / (tz.square().sum(1, keepdim=True) + 1e-6).sqrt()
                logits, peer = a * (unit[index[0]] * unit[index[1]]).sum(1) + b, 'torch, by its formula'
            elif shift:
                logits, peer = a * (tz[index[0]] * tz[index[1]]).sum(1) + b, 'torch, by its formula'
            else:
                logits, peer = pyg.InnerProductDecoder()(tz, index, sigmoid=False), 'torch_geometric.nn.GAE'
            (torch.tensor(c.astype(z.dtype)) * logits.sin()).sum().backward()
            params = {'scale': jnp.asarray(scale, z.dtype), 'shift': jnp.asarray(shift, z.dtype)}
            found, grads = both_gradients(DotDecoder(cosine=cosine), params, jnp.asarray(z), pairs, c.astype(z.dtype))
            name = f'{"cosine" if cosine else "dot"}, scale {scale}, f{bits}'
            compare('DotDecoder', peer, f'logits, {name}', found, WEIGHT(logits), 1e-5 if bits == 32 else 1e-12)
            if bits == 64:
                compare('DotDecoder', peer, f'gradient by nodes, {name}', grads[1], GRADIENT(tz), 1e-9, relative=True)
                if a.grad is not None:
                    compare('DotDecoder', peer, f'gradients by scale and shift, {name}', grads[0],
                            {'scale': GRADIENT(a), 'shift': GRADIENT(b)}, 1e-9, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
def test_mlp_decoder(bits):
    z, pairs, c = decoder_case(bits)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(OUT, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1))
    net = net.to(getattr(torch, f'float{bits}'))
    tz = torch.tensor(z, requires_grad=True)
    logits = net(tz[pairs[:, 0]] * tz[pairs[:, 1]])[:, 0]
    (torch.tensor(c.astype(z.dtype)) * logits.sin()).sum().backward()
    tree = lambda get: {'mlp': {f'dense_{i}': {'kernel': get(net[2 * i].weight).T, 'bias': get(net[2 * i].bias)}
                                for i in (0, 1)}}
    with jax.enable_x64(bits == 64):
        model = MLPDecoder((5,), param_dtype=z.dtype)
        found, grads = both_gradients(model, tree(WEIGHT), jnp.asarray(z), pairs, c.astype(z.dtype))
        swapped = model.apply({'params': tree(WEIGHT)}, jnp.asarray(z), pairs[:, ::-1])
        assert np.array_equal(swapped, model.apply({'params': tree(WEIGHT)}, jnp.asarray(z), pairs))
        compare('MLPDecoder', 'torch.nn.Sequential', f'logits, f{bits}', found, WEIGHT(logits),
                1e-6 if bits == 32 else 1e-12)
        if bits == 64:
            compare('MLPDecoder', 'torch.nn.Sequential', 'gradients, f64', grads, (tree(GRADIENT), GRADIENT(tz)), 1e-9,
                    relative=True)


@pytest.mark.parametrize('decoder', [DotDecoder(), MLPDecoder()], ids=['dot', 'mlp'])
def test_pairs_of_another_shape_are_refused(decoder):
    with pytest.raises(ValueError, match=r'pairs: expected \[m, 2\]'):
        decoder.init(jax.random.key(0), jnp.ones((3, 4)), jnp.zeros((2, 5), int))


@pytest.mark.parametrize('negatives', ['uniform', 'structured', 'hard'])
def test_the_task_draws_the_negatives_it_is_asked_for(negatives):
    """Its loss with fresh ones is that with the same pairs given; the hard ones are picked here by NumPy."""
    encoder, decoder, batch = GCN((HIDDEN, OUT)), DotDecoder(), example('float32', given=False)
    task = link_task(encoder, decoder, optax.sgd(0.1), negatives=negatives, tries=5)
    state = task.init(jax.random.key(0), batch)
    key = jax.random.split(KEY, 3)[0]
    args = key, batch['positive'], batch['known'], NODES
    if negatives == 'hard':
        pairs, free = map(np.asarray, candidates(*args, keep='either', tries=5))
        z = encode(encoder, state.params, batch['graph'])
        logits = np.asarray(decode(decoder, state.params, z, pairs.reshape(-1, 2))).reshape(free.shape)
        best = np.where(free, logits, -np.inf).argmax(1)
        pair, found = pairs[np.arange(len(pairs)), best], free.any(1)
    else:
        pair, found = draw_negatives(*args, structured=negatives == 'structured', tries=5)
    assert np.asarray(found).all(), 'this key finds one for every row'
    given = loss(task.evaluate(KEY, state, {**batch, 'negative': jnp.asarray(pair)}))
    fresh = [loss(task.evaluate(key, state, batch)) for key in (KEY, KEY, jax.random.key(1))]
    assert fresh[0] == fresh[1] != fresh[2] and abs(fresh[0] - given) < 1e-6


def test_harder_negatives_cost_more():
    batch = example('float32', given=False)
    means = []
    for negatives, tries in (('structured', 1), ('hard', 2), ('hard', 16)):
        task = link_task(GCN((HIDDEN, OUT)), DotDecoder(), optax.sgd(0.1), negatives=negatives, tries=tries)
        state = task.init(jax.random.key(0), batch)
        losses = jax.jit(jax.vmap(lambda key, task=task, state=state: loss(task.evaluate(key, state, batch))))(
            jax.random.split(KEY, 200))
        means.append(float(losses.mean()))
    assert means[0] + 0.005 < means[1] < means[2] - 0.005


def source(rows):
    """Batches of links for `loop.fit`; the graph lies on every device."""
    batch = example('float32', given=False)
    order = data.Order(len(batch['positive']), rows, seed=0)
    pick = lambda all_, host: {**all_, 'positive': all_['positive'][host['row']]}
    return data.Source(lambda step, at: {'row': order(step)[at].astype(np.int32)}, pick, batch, rows)


@pytest.mark.parametrize(('negatives', 'kl_weight'), [('hard', None), ('uniform', 1.0), ('hard', 1.0)])
def test_any_number_of_devices_trains_the_same(negatives, kl_weight):
    """Replicas move the nodes alike, draw their own rows' negatives, and count the divergence once."""
    encoder = (GCN if kl_weight is None else VariationalGCN)((HIDDEN, OUT))
    task = link_task(encoder, DotDecoder(), optax.sgd(0.5), negatives=negatives, tries=4, kl_weight=kl_weight)
    run = lambda strategy: jax.device_get(loop.fit(task, source(16), steps=5, key=jax.random.key(2),
                                                   strategy=strategy).carry.state.params)
    one = run(strategies.jit())
    for other in (strategies.pmap(devices=2), strategies.mesh({'data': 2})):
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(run(other)), strict=True):
            assert np.abs(a - b).max() < 2e-6 * max(1, np.abs(a).max())


def test_an_unknown_kind_of_negatives_is_refused():
    with pytest.raises(ValueError, match=r"negatives: expected one of uniform, structured, hard, found 'easy'"):
        link_task(GCN((3,)), DotDecoder(), optax.sgd(0.1), negatives='easy')
