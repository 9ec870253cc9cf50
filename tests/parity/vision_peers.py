"""How a network is held against its peer in torch: weights, logits, gradients, running statistics."""
import re

import jax
import jax.numpy as jnp
import numpy as np
import torch
from parity_ledger import compare
from torch import nn

from common import trees
from levels.level3_vision.weights import bridge

QUICK = {'xla_backend_optimization_level': 0}       # half of the compile time, which is all of it at these sizes


def randomise(net, seed=0):
    """Weights that keep the signal's size, and batch norms in which everything is away from its default."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                m.weight.normal_(0, (2 / m.weight[0].numel()) ** 0.5)
                if m.bias is not None:
                    m.bias.normal_(0, 0.1)
            elif isinstance(m, nn.BatchNorm2d):
                m.weight.uniform_(0.5, 1.5), m.bias.normal_(0, 0.2)
                m.running_mean.normal_(0, 0.2), m.running_var.uniform_(0.5, 1.5)
    return net


def numpy_state(net):
    return {name: x.detach().numpy().copy() for name, x in net.state_dict().items()}


def logits_of(net, x):
    y = net(x)
    return getattr(y, 'logits', y)


def check(name, peer, case, net, model, library, *, shape=(4, 32, 32, 3), gate=1e-5, still=''):
    """float32: logits in evaluation. float64: logits, gradients of parameters and images in training, and the running
    statistics after it.

    The logits are compared with their largest, as a chain of random blocks has no scale of its own. `still` is a regex
    of parameters whose gradient is 0 but for rounding: biases that reach nothing but batch norms, through 1x1
    convolutions or none.
    """
    x = np.random.default_rng(1).normal(size=shape)
    randomise(net)
    net.eval()
    state, image = numpy_state(net), shape[1:]
    nchw = torch.tensor(x.transpose(0, 3, 1, 2))
    with torch.no_grad():
        theirs = logits_of(net, nchw.float()).numpy()
    variables = bridge.from_names(model, state, library, image=image)
    ours = jax.jit(model.apply, compiler_options=QUICK)(variables, x.astype(np.float32))
    compare(name, peer, f'logits, {case}, f32', ours, theirs, gate, relative=True)

    net.double().train()
    nchw.requires_grad_()
    y = logits_of(net, nchw)
    (y / y.detach().abs().max()).sin().sum().backward()
    scale = float(y.detach().abs().max())
    after = numpy_state(net) | {k: p.grad.numpy() for k, p in net.named_parameters()}
    with jax.enable_x64(True):
        model = model.clone(param_dtype=jnp.float64)
        variables = bridge.from_names(model, {k: v.astype(np.float64) for k, v in state.items()}, library, image=image)
        stats = variables.get('batch_stats', {})

        def loss(params, x):
            y, changed = model.apply({'params': params, 'batch_stats': stats}, x, train=True, mutable=['batch_stats'])
            return jnp.sum(jnp.sin(y / scale)), (y, changed.get('batch_stats', {}))

        run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True), compiler_options=QUICK)
        (_, (logits, new)), grads = run(variables['params'], x)
        wanted = bridge.from_names(model, after, library, image=image)
        compare(name, peer, f'logits in training, {case}, f64', logits, y.detach().numpy(), 1e-9, relative=True)
        compare(name, peer, f'gradient of the images, {case}, f64', grads[1],
                nchw.grad.numpy().transpose(0, 2, 3, 1), 1e-9, relative=True)
        pairs = zip(trees.named_leaves(grads[0]).items(), jax.tree.leaves(wanted['params']), strict=True)
        pairs = {path: (np.asarray(a), np.asarray(b)) for (path, a), b in pairs}
        quiet = {path for path in pairs if still and re.search(still, path)}
        assert bool(quiet) is bool(still) and all(np.abs(side).max() < 1e-12 for path in quiet for side in pairs[path])
        moving = [pair for path, pair in pairs.items() if path not in quiet]
        compare(name, peer, f'gradients of the parameters, {case}, f64', *map(list, zip(*moving)), 1e-9, relative=True)
        if stats:
            compare(name, peer, f'running statistics after a step, {case}, f64', new, wanted['batch_stats'], 1e-6)
