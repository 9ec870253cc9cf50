"""ResNet, VGG, AlexNet, MobileNet and EfficientNet beside peers in torch, with the peers' random weights.

Peers that others wrote are those of transformers: ResNet v1 and v1.5, MobileNetV2, EfficientNet in the convention tf.
All others, called 'torch, torchvision names' or 'torch, timm names' in the ledger, are ours, written from the papers
under the libraries' names (tools/bench/peers/torch_nets.py, torch_mobile.py): no test needs torchvision or timm.
Once, by hand, names, shapes, numbers of parameters and logits were compared with the real torchvision 0.28.0 and timm
1.0.31: in float64 the logits of timm's efficientnet_b5 differed by 9e-13 of their largest, of torchvision's by 1e-12.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
import vision_peers as peers
from parity_ledger import compare
from vision_peers import check

from levels.level3_vision.alexnet import AlexNet, local_response_norm
from levels.level3_vision.efficientnet import VARIANTS, EfficientNet
from levels.level3_vision.mobilenet import V3_STAGES, MobileNetV2, MobileNetV3
from levels.level3_vision.resnet import ResNet
from levels.level3_vision.vgg import VGG, perceptual_loss, vgg_features
from levels.level3_vision.weights import bridge
from tools.bench.peers import torch_mobile as mobile
from tools.bench.peers import torch_nets as nets

N = 5
HF = 'transformers, '


def hf_resnet(width, depths, layer_type, **kwargs):
    scale = 4 if layer_type == 'bottleneck' else 1
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(
        embedding_size=width, hidden_sizes=[scale * width * 2**s for s in range(len(depths))], depths=list(depths),
        layer_type=layer_type, num_labels=N, **kwargs))


RESNETS = {
    'basic': (lambda: hf_resnet(8, (1, 2), 'basic'), dict(blocks=(1, 2)), 'huggingface'),
    'bottleneck v1.5': (lambda: hf_resnet(4, (2, 1), 'bottleneck'), dict(blocks=(2, 1), bottleneck=True, width=4),
                        'huggingface'),
    'bottleneck v1': (lambda: hf_resnet(4, (1, 1), 'bottleneck', downsample_in_bottleneck=True),
                      dict(blocks=(1, 1), bottleneck=True, width=4, version='v1'), 'huggingface'),
    'CIFAR stem': (lambda: nets.ResNetPeer((1, 1), 8, cifar=True, n=N), dict(blocks=(1, 1), stem='cifar'),
                   'torchvision'),
    'v2 basic': (lambda: nets.ResNetV2Peer((1, 1), 8, n=N), dict(blocks=(1, 1), version='v2'), 'timm'),
    'v2 bottleneck': (lambda: nets.ResNetV2Peer((2, 1), 4, True, n=N),
                      dict(blocks=(2, 1), bottleneck=True, width=4, version='v2'), 'timm'),
}


QUICK = ('bottleneck v1', 'bottleneck v1.5', 'CIFAR stem', 'v2 bottleneck')


@pytest.mark.parametrize('case', [pytest.param(case, marks=() if case in QUICK else pytest.mark.slow)
                                  for case in RESNETS])
def test_resnet(case):
    net, fields, library = RESNETS[case]
    peer = HF + 'ResNetForImageClassification' if library == 'huggingface' else f'torch, {library} names'
    check('ResNet', peer, case, net(), ResNet(**{'n_classes': N, 'width': 8} | fields), library)


@pytest.mark.parametrize('norm', [False, True])
def test_vgg(norm):
    """A bias before a batch norm moves nothing, so its gradient is rounding alone."""
    model = VGG(groups=(1, 2, 1), batch_norm=norm, width=4, hidden=8, n_classes=N, dropout=0.0)
    check('VGG', 'torch, torchvision names', f'3 groups, batch norm {norm}',
          nets.VGGPeer((1, 2, 1), norm, 4, 8, n=N), model, 'torchvision',
          still=r'^conv\d_\d/bias' if norm else '')


def test_perceptual_features_and_their_loss_equal_torch():
    net = peers.randomise(nets.VGGPeer((1, 2), False, 4, 8, n=N)).double()
    model = VGG(groups=(1, 2), width=4, hidden=8, n_classes=N)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 2, 12, 12, 3))
    ends = {'relu1_1': 1, 'relu2_1': 4, 'relu2_2': 6}
    tx, ty = (torch.tensor(a.transpose(0, 3, 1, 2)) for a in (x, y))
    tx.requires_grad_()
    cut = lambda t, i: net.features[: i + 1](t)
    loss = sum(((cut(tx, i) - cut(ty, i)) ** 2).mean((1, 2, 3)) for i in ends.values())
    loss.sum().backward()
    with jax.enable_x64(True):
        model = model.clone(param_dtype=jnp.float64)
        variables = bridge.from_names(model, peers.numpy_state(net), 'torchvision')
        found = vgg_features(model, variables, x, tuple(ends))
        wanted = {name: cut(tx, i).detach().numpy().transpose(0, 2, 3, 1) for name, i in ends.items()}
        compare('VGG', 'torch, torchvision names', 'features, f64', found, wanted, 1e-12, relative=True)
        mine = lambda x: perceptual_loss(model, variables, x, y, tuple(ends))
        compare('VGG', 'torch, torchvision names', 'perceptual loss, f64', mine(x), loss.detach().numpy(), 1e-10)
        compare('VGG', 'torch, torchvision names', 'gradient of the perceptual loss, f64',
                jax.grad(lambda x: mine(x).sum())(x), tx.grad.numpy().transpose(0, 2, 3, 1), 1e-10, relative=True)
        with pytest.raises(ValueError, match='names: expected some of relu1_1, relu2_1, relu2_2; found relu9_1'):
            vgg_features(model, variables, x, ('relu9_1',))


@pytest.mark.parametrize('variant', ['one_weird_trick', 'original'])
def test_alexnet(variant):
    """Images of 67: the fields of the original's dense layers are then 1 x 1."""
    net = nets.AlexNetPeer(8, 8, n=N) if variant == 'one_weird_trick' else nets.AlexNetOriginalPeer(8, 8, 1, n=N)
    model = AlexNet(variant, N, width=8, hidden=8, dropout=0.0)
    check('AlexNet', 'torch, torchvision names', variant, net, model, 'torchvision', shape=(2, 67, 67, 3))


def test_the_original_alexnet_pads_the_papers_224_to_227():
    model = AlexNet('original', N, width=4, hidden=4)
    x = jax.random.normal(jax.random.key(1), (1, 224, 224, 3))
    variables = jax.jit(model.init)(jax.random.key(0), x)
    assert variables['params']['dense6']['kernel'].shape[0] == 36 * 16
    padded = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
    run = jax.jit(model.apply)
    assert np.array_equal(run(variables, x), run(variables, padded))


@pytest.mark.parametrize('size', [1, 3, 5])
def test_response_normalisation(size):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 7))
    tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    theirs = torch.nn.functional.local_response_norm(tx, size, alpha=0.3 * size, beta=0.75, k=1.5)
    theirs.sin().sum().backward()
    with jax.enable_x64(True):
        ours = functools.partial(local_response_norm, size=size, alpha=0.3, k=1.5)
        compare('local_response_norm', 'torch.nn.functional.local_response_norm', f'size {size}, f64', ours(x),
                theirs.detach().numpy().transpose(0, 2, 3, 1), 1e-12)
        compare('local_response_norm', 'torch.nn.functional.local_response_norm', f'gradient, size {size}, f64',
                jax.grad(lambda x: jnp.sin(ours(x)).sum())(x), tx.grad.numpy().transpose(0, 2, 3, 1), 1e-12)
    with pytest.raises(ValueError, match='size: expected an odd number of channels; found 4'):
        local_response_norm(x, size=4)


PROJECT = 'project_norm/bias'


def test_mobilenet_v2():
    stages = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 1, 1))
    check('MobileNetV2', 'torch, torchvision names', '3 stages', mobile.MobileNetV2Peer(stages, last=16, n=N),
          MobileNetV2(N, stages=stages, last=16, dropout=0.0), 'torchvision', still=PROJECT)


def hf_mobilenet(padding):
    """All 17 blocks, as Hugging Face has no fewer; its batch norms keep 0.3 % of the old statistics."""
    net = transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(
        depth_multiplier=0.35, num_labels=N, tf_padding=padding == 'SAME',
        classifier_dropout_prob=0.0))
    model = MobileNetV2(N, width=0.35, padding=padding, norm_epsilon=1e-3, norm_momentum=0.003, dropout=0.0)
    return net, model


def test_mobilenet_v2_hugging_face():
    net, model = hf_mobilenet('SAME')
    # 52 layers of few channels, down to images of 1 x 1, round to 1.1e-5 in float32
    check('MobileNetV2', HF + 'MobileNetV2ForImageClassification', 'SAME, width 0.35', net, model, 'huggingface',
          still=PROJECT, gate=3e-5)


def test_mobilenet_v3():
    """Blocks with and without expansion, squeeze, hard swish, stride, shortcut."""
    stages = (((3, 16, 16, True, False, 1),), ((5, 24, 16, False, False, 2), (3, 40, 16, True, True, 1)),
              ((5, 24, 24, False, True, 2),))
    check('MobileNetV3', 'torch, torchvision names', '4 blocks', mobile.MobileNetV3Peer(stages, 16, n=N),
          MobileNetV3(n_classes=N, stages=stages, hidden=16, dropout=0.0), 'torchvision', still=PROJECT)


EFFICIENT = ((3, 1, 1, 8, 1), (5, 2, 6, 8, 2), (3, 2, 6, 16, 1))


def test_efficientnet_torch_convention():
    check('EfficientNet', 'torch, torchvision names', '3 stages', mobile.EfficientNetPeer(EFFICIENT, n=N),
          EfficientNet('b0', N, stages=EFFICIENT, dropout=0.0, drop_path=0.0), 'torchvision', still=PROJECT)


def hf_efficientnet(stages, **kwargs):
    """Batch norms with one momentum; Hugging Face leaves torch's in the expansions."""
    kernels, strides, expansions, channels, counts = map(list, zip(*stages))
    net = transformers.EfficientNetForImageClassification(transformers.EfficientNetConfig(**{
        'width_coefficient': 1.0, 'depth_coefficient': 1.0, 'kernel_sizes': kernels, 'strides': strides,
        'in_channels': [32, *channels[:-1]], 'out_channels': channels, 'num_block_repeats': counts,
        'expand_ratios': expansions, 'hidden_dim': 1280, 'num_labels': N, 'dropout_rate': 0.0,
        'drop_connect_rate': 0.0} | kwargs))
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = 0.01
    return net


def test_efficientnet_tensorflow_convention():
    """Hugging Face's last layer has 1280 channels whatever comes before it, so the last stage has a quarter of that."""
    stages = (*EFFICIENT[:2], (3, 1, 6, 320, 1))
    check('EfficientNet', HF + 'EfficientNetForImageClassification', 'tf convention, 3 stages', hf_efficientnet(stages),
          EfficientNet('b0', N, 'tf', stages, dropout=0.0, drop_path=0.0), 'huggingface', still=PROJECT)


def test_the_conventions_differ_and_their_weights_are_the_same():
    x = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    ours, google = (EfficientNet('b0', N, c, EFFICIENT[:2]) for c in ('torch', 'tf'))
    variables = jax.jit(ours.init)(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, variables['params']) == jax.tree.map(
        lambda s: s.shape, jax.eval_shape(google.init, jax.random.key(0), x)['params'])
    run = lambda model: np.asarray(jax.jit(model.apply)(variables, x))
    assert np.abs(run(ours) - run(google)).max() > 1e-3
    assert np.array_equal(run(google.clone(padding='torch', norm_epsilon=1e-5)), run(ours))


# As found in torchvision 0.28.0 and timm 1.0.31, whose momenta are 1 minus ours; timm's `tf_` networks have 0.9.
GOOGLE, TORCH = (1e-3, 0.99), (1e-5, 0.9)
NORMS = {('torch', 'b4'): TORCH, ('torch', 'b5'): GOOGLE, ('torch', 'b6'): GOOGLE, ('torch', 'b7'): GOOGLE,
         ('timm', 'b4'): TORCH, ('timm', 'b5'): TORCH, ('timm', 'b6'): TORCH, ('timm', 'b7'): TORCH,
         ('tf', 'b0'): GOOGLE, ('tf', 'b5'): GOOGLE}


@pytest.mark.parametrize(('convention', 'variant'), NORMS)
def test_batch_norms_of_efficientnets_are_those_of_the_library(convention, variant):
    """Every norm of the network has the epsilon and the momentum of the weights' origin, not its kit alone."""
    model = EfficientNet(variant, N, convention, ((3, 1, 1, 8, 1), (3, 2, 6, 8, 1)), drop_path=0.0)
    kit, found = model.kit(), []

    def keep(call, args, kwargs, context):
        if isinstance(context.module, nn.BatchNorm) and context.method_name == '__call__':
            found.append((context.module.epsilon, context.module.momentum))
        return call(*args, **kwargs)

    with nn.intercept_methods(keep):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    assert (kit.epsilon, kit.momentum) == NORMS[convention, variant]
    assert len(found) >= 7 and set(found) == {NORMS[convention, variant]}
    assert kit.padding == ('SAME' if convention == 'tf' else 'torch')


@pytest.mark.parametrize(('convention', 'epsilon', 'momentum'), [('torch', 1e-3, 0.01), ('timm', 1e-5, 0.1)])
def test_efficientnet_b5_with_the_norms_of_each_library(convention, epsilon, momentum):
    """Widths and depths of b5, under torchvision's norms and under timm's: epsilon by the logits, momentum by the
    running statistics."""
    stages = ((5, 2, 6, 8, 1),)
    net = mobile.EfficientNetPeer(stages, *VARIANTS['b5'][:2], epsilon, momentum, n=N)
    model = EfficientNet('b5', N, convention, stages, dropout=0.0, drop_path=0.0)
    check('EfficientNet', 'torch, torchvision names', f'b5, norms of {convention}', net, model, 'torchvision',
          still=PROJECT)


# ResNet: v1 and v1.5 as in torchvision, v2 as in timm, which has norms before the blocks (`resnetv2_18` and on)
RESNET_COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}
RESNET_V2_COUNTS = {18: 11_687_720, 34: 21_795_880, 50: 25_549_352, 101: 44_541_480, 152: 60_185_128}
EFFICIENT_COUNTS = {'b0': 5_288_548, 'b1': 7_794_184, 'b2': 9_109_994, 'b3': 12_233_232, 'b4': 19_341_616,
                    'b5': 30_389_784, 'b6': 43_040_704, 'b7': 66_347_960}
VGG_COUNTS = {(11, False): 132_863_336, (13, False): 133_047_848, (16, False): 138_357_544, (19, False): 143_667_240,
              (11, True): 132_868_840, (13, True): 133_053_736, (16, True): 138_365_992, (19, True): 143_678_248}
COUNTS = (
    *((ResNet(depth), n) for depth, n in RESNET_COUNTS.items()),
    *((ResNet(depth, version='v1'), n) for depth, n in RESNET_COUNTS.items()),
    *((ResNet(depth, version='v2'), n) for depth, n in RESNET_V2_COUNTS.items()),
    *((VGG(depth, batch_norm=norm), n) for (depth, norm), n in VGG_COUNTS.items()),
    (AlexNet('original'), 60_965_224), (AlexNet(), 61_100_840),
    (MobileNetV2(), 3_504_872), (MobileNetV3('large'), 5_483_032), (MobileNetV3('small'), 2_542_856),
    *((EfficientNet(variant), n) for variant, n in EFFICIENT_COUNTS.items()),
)


def count(model):
    return sum(leaf.size for path, leaf in bridge.shapes_of(model).items() if path[0] == 'params')


def name_of(model):
    size = getattr(model, 'variant', getattr(model, 'depth', getattr(model, 'size', '')))
    return f'{type(model).__name__}-{size}' + (f'-{model.version}' if hasattr(model, 'version') else '')


DEEP = tuple(f'EfficientNet-b{i}' for i in range(3, 8))


@pytest.mark.parametrize(('model', 'parameters'), [
    pytest.param(*case, id=name_of(case[0]), marks=pytest.mark.slow if name_of(case[0]) in DEEP else ())
    for case in COUNTS])
def test_parameters_are_as_many_as_published(model, parameters):
    assert count(model) == parameters


def test_pre_activation_has_its_norms_elsewhere():
    """v2 lacks the norms of the stem (64) and of the four shortcuts; a norm before a block is as wide as its input."""
    norms = lambda model: sum(leaf.size for path, leaf in bridge.shapes_of(model).items() if path[-1] == 'scale')
    convolutions = lambda model: sum(leaf.size for path, leaf in bridge.shapes_of(model).items()
                                     if path[-1] == 'kernel')
    v1, v2 = ResNet(50), ResNet(50, version='v2')
    assert convolutions(v1) == convolutions(v2)
    inputs = [64, 256, 256] + [256] + 3 * [512] + [512] + 5 * [1024] + [1024] + 2 * [2048]
    inside = 2 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)
    assert norms(v2) == sum(inputs) + inside + 2048


@pytest.mark.parametrize('version', ['v1.5', 'v2'])
def test_a_new_block_is_its_shortcut(version):
    """The last scale (in v2 the last kernel) begins as 0, so the second block of a stage lets everything pass."""
    x = jax.random.normal(jax.random.key(1), (2, 16, 16, 3))
    for zero, same in ((True, True), (False, False)):
        model = ResNet(blocks=(2,), width=4, n_classes=N, stem='cifar', version=version, zero_init=zero)
        variables = jax.jit(model.init)(jax.random.key(0), x)
        seen = {}

        def keep(call, args, kwargs, context, seen=seen):
            y = call(*args, **kwargs)
            seen['/'.join(context.module.path)] = (args[0], y)
            return y

        with nn.intercept_methods(keep):
            model.apply(variables, x)
        before, after = seen['stage1_1']
        assert np.array_equal(before, after) is same


def test_held_norms_keep_their_statistics_and_use_them():
    x = 2 + jax.random.normal(jax.random.key(1), (8, 16, 16, 3))
    model = ResNet(blocks=(1, 1), width=4, n_classes=N, stem='cifar')
    variables = jax.jit(model.init)(jax.random.key(0), x)
    held = model.clone(frozen_norms='^(stem|stage1)')
    run = lambda model, **kwargs: jax.jit(functools.partial(model.apply, **kwargs))(variables, x)
    y, new = run(held, train=True, mutable=['batch_stats'])
    old = variables['batch_stats']
    for part, leaves in new['batch_stats'].items():
        same = jax.tree.all(jax.tree.map(np.array_equal, leaves, old[part]))
        assert same is (not part.startswith('stage2')), part
    all_held = model.clone(frozen_norms='.')
    evaluated = run(model)
    assert np.array_equal(run(all_held, train=True, mutable=['batch_stats'])[0], evaluated)
    assert jnp.abs(y - evaluated).max() > 1e-3


def test_stochastic_depth_and_dropout_act_in_training_alone():
    model = EfficientNet('b0', N, stages=((3, 1, 1, 32, 2),), drop_path=0.9, dropout=0.0, frozen_norms='.')
    x = jax.random.normal(jax.random.key(1), (8, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(0), x)
    run = jax.jit(lambda key: model.apply(variables, x, train=True, rngs={'dropout': key}))
    keys = [jax.random.key(k) for k in (0, 0, 1)]
    one, same, other = map(run, keys)
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    plain = jax.jit(lambda v, x: model.clone(drop_path=0.0).apply(v, x, train=True))(variables, x)
    evaluated = jax.jit(model.apply)(variables, x)
    assert jnp.abs(plain - evaluated).max() <= 1e-5 * jnp.abs(evaluated).max() < jnp.abs(one - evaluated).max()


def test_depthwise_convolutions_cost_what_they_should():
    """XLA's count of operations is the formula's, in which a depthwise kernel sees one channel."""
    model = MobileNetV2(N, stages=((6, 32, 1, 1),), last=8, padding='SAME')
    x = jnp.zeros((1, 16, 16, 3))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    flops = jax.jit(model.apply).lower(variables, x).cost_analysis()['flops']
    area, hidden = 8 * 8, 6 * 32
    products = area * (27 * 32 + 32 * hidden + 9 * hidden + hidden * 32 + 32 * 8) + 8 * N
    assert 2 * products < flops < 2 * products * 1.2
    assert flops < 2 * area * 9 * hidden * hidden / 2      # a full 3x3 convolution would be at least this


@pytest.mark.parametrize(('model', 'shape', 'message'), [
    (ResNet(20), (1, 32, 32, 3), 'depth: expected one of 18, 34, 50, 101, 152; found 20'),
    (ResNet(18, version='v3'), (1, 32, 32, 3), "version: expected one of v1, v1.5, v2; found 'v3'"),
    (ResNet(18, stem='mnist'), (1, 32, 32, 3), "stem: expected one of imagenet, cifar; found 'mnist'"),
    (ResNet(18), (32, 32, 3), r'x: expected \[batch, height, width, channels\] with sides >= 1; found shape \(32, '),
    (VGG(12), (1, 32, 32, 3), 'depth: expected one of 11, 13, 16, 19; found 12'),
    (VGG(11), (1, 31, 32, 3), 'sides >= 32'),
    (AlexNet('v2'), (1, 67, 67, 3), "variant: expected one of original, one_weird_trick; found 'v2'"),
    (AlexNet(), (1, 66, 67, 3), 'sides >= 67'),
    (MobileNetV2(padding='VALID'), (1, 32, 32, 3), "padding: expected one of torch, SAME; found 'VALID'"),
    (MobileNetV3('medium'), (1, 32, 32, 3), "size: expected one of large, small; found 'medium'"),
    (EfficientNet('b8'), (1, 32, 32, 3), "variant: expected one of b0, .*; found 'b8'"),
    (EfficientNet(convention='jax'), (1, 32, 32, 3), "convention: expected one of torch, timm, tf; found 'jax'"),
])
def test_bad_input_says_what_is_wrong(model, shape, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros(shape))


FULL = {
    'ResNet-50': ('ResNet', HF + 'ResNetForImageClassification', lambda: transformers.ResNetForImageClassification(
        transformers.ResNetConfig(num_labels=1000)), ResNet(50), 'huggingface', 224),
    'VGG-16': ('VGG', 'torch, torchvision names', lambda: nets.VGGPeer((2, 2, 3, 3, 3)), VGG(16), 'torchvision', 224),
    'AlexNet': ('AlexNet', 'torch, torchvision names', nets.AlexNetPeer, AlexNet(), 'torchvision', 224),
    'AlexNet original': ('AlexNet', 'torch, torchvision names', nets.AlexNetOriginalPeer, AlexNet('original'),
                         'torchvision', 227),
    'V2': ('MobileNetV2', HF + 'MobileNetV2ForImageClassification',
           lambda: transformers.MobileNetV2ForImageClassification(transformers.MobileNetV2Config(num_labels=1000)),
           MobileNetV2(padding='SAME', norm_epsilon=1e-3), 'huggingface', 224),
    'V3 large': ('MobileNetV3', 'torch, torchvision names', lambda: mobile.MobileNetV3Peer(V3_STAGES['large'], 1280),
                 MobileNetV3(), 'torchvision', 224),
    'B0 tf': ('EfficientNet', HF + 'EfficientNetForImageClassification',
              lambda: hf_efficientnet(((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
                                       (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)), num_labels=1000),
              EfficientNet('b0', convention='tf'), 'huggingface', 224),
}


# Under random statistics the squeeze gates of these let float32's rounding grow to 1.3e-5 and 1.7e-5 of the logits, so
# theirs are those of the images, as they are in a trained network.
OWN_STATISTICS = ('V3 large', 'B0 tf')


@pytest.mark.slow
@pytest.mark.parametrize('case', FULL)
def test_full_size(case):
    name, peer, make, model, library, side = FULL[case]
    net = peers.randomise(make()).train()
    x = np.random.default_rng(1).normal(size=(2, side, side, 3)).astype(np.float32)
    nchw = torch.tensor(x.transpose(0, 3, 1, 2))
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.momentum = float(case in OWN_STATISTICS)      # 0 leaves the random ones
    with torch.no_grad():
        net(nchw)
        theirs = peers.logits_of(net.eval(), nchw).numpy()
    variables = bridge.from_names(model, peers.numpy_state(net), library)
    compare(name, peer, f'logits, {case} at full size, f32', jax.jit(model.apply)(variables, x), theirs, 1e-5,
            relative=True)
