"""ResNet's other shortcuts beside torch: channels of zeros (He et al. 2016, option A), and none at all."""
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from vision_peers import check

from levels.level3_vision.blocks import Kit
from levels.level3_vision.resnet import ResNet, _Block
from tools.bench.peers import torch_nets

N = 5


class Zeros(torch.nn.Module):
    """Every second row and column, and new channels that are 0."""

    def __init__(self, stride, new):
        super().__init__()
        self.stride, self.new = stride, new

    def forward(self, x):
        return torch.nn.functional.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, 0, self.new))


class Nothing(torch.nn.Module):
    """What a plain block carries past itself."""

    def forward(self, x):
        return torch.zeros((), dtype=x.dtype)


def peer(shortcut, blocks=(1, 2), width=4):
    """The peer with torchvision's names, its shortcuts exchanged."""
    net = torch_nets.ResNetPeer(blocks, width, cifar=True, n=N)
    for s in range(1, len(blocks) + 1):
        for block in getattr(net, f'layer{s}'):
            if shortcut == 'none':
                block.downsample = Nothing()
            elif block.downsample is not None:
                first = block.downsample[0]
                block.downsample = Zeros(first.stride[0], first.out_channels - first.in_channels)
    return net


@pytest.mark.parametrize('shortcut', ['pad', pytest.param('none', marks=pytest.mark.slow)])
def test_shortcuts_equal_torch(shortcut):
    """On odd sides: what is carried past a stride has as many rows as what comes out of the convolution."""
    model = ResNet(blocks=(1, 2), width=4, n_classes=N, stem='cifar', shortcut=shortcut)
    check('ResNet', 'torch, torchvision names', f'CIFAR stem, shortcut {shortcut}', peer(shortcut), model,
          'torchvision', shape=(3, 9, 9, 3))


def test_pre_activation_carries_the_input_itself():
    x = jax.random.normal(jax.random.key(0), (2, 5, 5, 3))
    block = lambda skip: _Block(4, 2, False, 'v2', skip, False, nn.relu, Kit())
    variables = block('pad').init(jax.random.key(1), x, train=False)
    carried, plain = (block(skip).apply(variables, x, train=False) for skip in ('pad', 'none'))
    assert np.allclose(carried - plain, jnp.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (0, 1))), atol=1e-6)


def test_parameters():
    """He et al. 2016, table 6: ResNet-20 and its plain twin have the same 0.27 M, option B has 2,752 more."""
    count = lambda **more: sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(
        ResNet(blocks=(3, 3, 3), width=16, n_classes=10, stem='cifar', **more).init, jax.random.key(0),
        jnp.zeros((1, 32, 32, 3)))['params']))
    assert count(shortcut='pad') == count(shortcut='none') == 269_722
    assert count() == 269_722 + 16 * 32 + 32 * 64 + 2 * (32 + 64)


def test_a_plain_network_begins_with_all_of_its_blocks_at_work():
    """`zero_init` would leave nothing of a block without a shortcut."""
    model = ResNet(blocks=(1, 1), width=4, n_classes=N, stem='cifar', shortcut='none')
    x = jax.random.normal(jax.random.key(0), (2, 8, 8, 3))
    variables = model.init(jax.random.key(1), x)
    assert (variables['params']['stage2_0']['norm2']['scale'] == 1).all()
    assert jnp.abs(model.apply(variables, x)).max() > 0
    with pytest.raises(ValueError, match="shortcut: expected one of conv, pad, none; found 'identity'"):
        model.clone(shortcut='identity').init(jax.random.key(1), x)
