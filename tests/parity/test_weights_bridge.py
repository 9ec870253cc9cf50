"""The weights bridge: names and layouts of three libraries, both ways, bit for bit, and what it refuses."""

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import transformers
import vision_peers as peers
from safetensors.numpy import save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch

from levels.level3_vision.alexnet import AlexNet
from levels.level3_vision.efficientnet import STAGES, VARIANTS, EfficientNet
from levels.level3_vision.mobilenet import V2_STAGES, V3_STAGES, MobileNetV2, MobileNetV3
from levels.level3_vision.resnet import DEPTHS, ResNet
from levels.level3_vision.vgg import DEPTHS as VGG_DEPTHS
from levels.level3_vision.vgg import VGG
from levels.level3_vision.weights import bridge, report
from levels.level3_vision.weights.tables import TABLES, table
from tools.bench.peers import torch_mobile as mobile
from tools.bench.peers import torch_nets as nets

N = 3
SMALL = {
    'ResNet': ResNet(blocks=(1, 2), width=4, n_classes=N),
    'ResNet bottleneck': ResNet(blocks=(2, 1), width=4, bottleneck=True, n_classes=N),
    'ResNet v2': ResNet(blocks=(2, 1), width=4, bottleneck=True, n_classes=N, version='v2'),
    'VGG': VGG(groups=(1, 2), width=4, hidden=8, n_classes=N),
    'VGG norm': VGG(groups=(2, 1), width=4, hidden=8, n_classes=N, batch_norm=True),
    'AlexNet': AlexNet(n_classes=N, width=4, hidden=8),
    'AlexNet original': AlexNet('original', n_classes=N, width=4, hidden=8),
    'MobileNetV2': MobileNetV2(N, stages=((1, 8, 1, 1), (6, 16, 2, 2)), last=16),
    'MobileNetV3': MobileNetV3(n_classes=N, hidden=16, stages=(
        ((3, 16, 16, True, False, 1),), ((5, 24, 16, False, False, 2), (3, 40, 16, True, True, 1)))),
    'EfficientNet': EfficientNet('b0', N, stages=((3, 1, 1, 8, 1), (5, 2, 6, 8, 2))),
}
PAIRS = [(name, library) for name, model in SMALL.items() for library in ('torchvision', 'timm', 'huggingface')
         if (type(model), library) in TABLES and not ('v2' in name and library != 'timm')]


def variables_of(model, image=bridge.IMAGE):
    """Random numbers in the model's shapes, no two alike."""
    rng = np.random.default_rng(0)
    flat = {path: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32)
            for path, leaf in sorted(bridge.shapes_of(model, image).items())}
    return traverse.unflatten_dict(flat)


def bits(tree):
    return jax.tree.map(lambda x: np.asarray(x).tobytes(), tree)


@pytest.mark.parametrize(('name', 'library'), PAIRS)
def test_there_and_back_is_bit_equal(name, library):
    """Variables -> their names -> variables, and their state -> variables -> their state."""
    model, variables = SMALL[name], variables_of(SMALL[name])
    state = bridge.to_names(model, variables, library)
    again = bridge.from_names(model, state, library)
    assert jax.tree.structure(again) == jax.tree.structure(variables)
    assert bits(again) == bits(variables)
    there = bridge.to_names(model, again, library)
    assert {k: (v.dtype, v.shape, v.tobytes()) for k, v in there.items()} == {
        k: (v.dtype, v.shape, v.tobytes()) for k, v in state.items()}
    assert len({v.tobytes() for k, v in state.items() if v.size > 1}) == sum(v.size > 1 for v in state.values())


def meta(make):
    with torch.device('meta'):
        return {name: tuple(x.shape) for name, x in make().state_dict().items()}


def hf(name, **config):
    make = getattr(transformers, f'{name}Config')
    return lambda: getattr(transformers, f'{name}ForImageClassification')(make(num_labels=1000, **config))


FULL = {
    'ResNet-18': (ResNet(18), 'torchvision', lambda: nets.ResNetPeer(DEPTHS[18])),
    'ResNet-152': (ResNet(152), 'torchvision', lambda: nets.ResNetPeer(DEPTHS[152], deep=True)),
    'ResNet-50 v2': (ResNet(50, version='v2'), 'timm', lambda: nets.ResNetV2Peer(DEPTHS[50], deep=True)),
    'ResNet-50 HF': (ResNet(50), 'huggingface', hf('ResNet')),
    'VGG-11': (VGG(11), 'torchvision', lambda: nets.VGGPeer(VGG_DEPTHS[11])),
    'VGG-19 norm': (VGG(19, batch_norm=True), 'torchvision', lambda: nets.VGGPeer(VGG_DEPTHS[19], True)),
    'AlexNet': (AlexNet(), 'torchvision', nets.AlexNetPeer),
    'MobileNetV2': (MobileNetV2(), 'torchvision', lambda: mobile.MobileNetV2Peer(V2_STAGES)),
    'MobileNetV2 HF': (MobileNetV2(), 'huggingface', hf('MobileNetV2')),
    'MobileNetV3 large': (MobileNetV3(), 'torchvision', lambda: mobile.MobileNetV3Peer(V3_STAGES['large'], 1280)),
    'MobileNetV3 small': (MobileNetV3('small'), 'torchvision',
                          lambda: mobile.MobileNetV3Peer(V3_STAGES['small'], 1024)),
    'EfficientNet-B0': (EfficientNet('b0'), 'torchvision', lambda: mobile.EfficientNetPeer(STAGES)),
    'EfficientNet-B4': (EfficientNet('b4'), 'torchvision',
                        lambda: mobile.EfficientNetPeer(STAGES, *VARIANTS['b4'][:2])),
    'EfficientNet-B7 HF': (EfficientNet('b7'), 'huggingface', hf('EfficientNet')),
}


@pytest.mark.parametrize('case', FULL)
def test_names_and_shapes_at_full_size(case):
    """No numbers: torch's meta device there, shapes alone here."""
    model, library, make = FULL[case]
    theirs = {k: s for k, s in meta(make).items() if not k.endswith('num_batches_tracked')}
    shapes = bridge.shapes_of(model)
    names = bridge.names(model, library)
    ours = [f"{names['/'.join(path[1:-1])]}.{bridge._LEAVES[path[-1]]}" for path in shapes]
    assert sorted(ours) == sorted(theirs)
    for name, leaf in zip(ours, shapes.values()):
        assert sorted(n for n in leaf.shape if n > 1) == sorted(n for n in theirs[name] if n > 1), name


# Some names of timm's published weights, with their shapes; timm is not installed.
TIMM = {
    'resnet50': (ResNet(50), {'conv1.weight': (64, 3, 7, 7), 'layer1.0.downsample.1.running_var': (256,),
                              'layer3.5.bn3.weight': (1024,), 'fc.weight': (1000, 2048)}),
    'resnetv2_50': (ResNet(50, version='v2'), {
        'stem.conv.weight': (64, 3, 7, 7), 'stages.0.blocks.0.downsample.conv.weight': (256, 64, 1, 1),
        'stages.3.blocks.2.norm3.bias': (512,), 'norm.weight': (2048,), 'head.fc.weight': (1000, 2048, 1, 1)}),
    'vgg16': (VGG(16), {'features.28.weight': (512, 512, 3, 3), 'pre_logits.fc1.weight': (4096, 512, 7, 7),
                        'pre_logits.fc2.weight': (4096, 4096, 1, 1), 'head.fc.weight': (1000, 4096)}),
    'mobilenetv2_100': (MobileNetV2(), {
        'conv_stem.weight': (32, 3, 3, 3), 'blocks.0.0.conv_dw.weight': (32, 1, 3, 3),
        'blocks.0.0.conv_pw.weight': (16, 32, 1, 1), 'blocks.1.0.conv_pw.weight': (96, 16, 1, 1),
        'blocks.6.0.conv_pwl.weight': (320, 960, 1, 1), 'blocks.6.0.bn3.running_mean': (320,),
        'conv_head.weight': (1280, 320, 1, 1), 'bn2.weight': (1280,), 'classifier.weight': (1000, 1280)}),
    'mobilenetv3_large_100': (MobileNetV3(), {
        'blocks.2.0.se.conv_reduce.weight': (24, 72, 1, 1), 'blocks.3.3.conv_dw.weight': (184, 1, 3, 3),
        'blocks.6.0.conv.weight': (960, 160, 1, 1), 'blocks.6.0.bn1.bias': (960,),
        'conv_head.weight': (1280, 960, 1, 1), 'conv_head.bias': (1280,), 'classifier.weight': (1000, 1280)}),
    'mobilenetv3_small_100': (MobileNetV3('small'), {
        'blocks.0.0.se.conv_expand.bias': (16,), 'blocks.5.0.conv.weight': (576, 96, 1, 1),
        'conv_head.weight': (1024, 576, 1, 1)}),
    'efficientnet_b0': (EfficientNet('b0'), {
        'blocks.0.0.se.conv_reduce.weight': (8, 32, 1, 1), 'blocks.0.0.bn2.weight': (16,),
        'blocks.5.3.conv_dw.weight': (1152, 1, 5, 5), 'blocks.6.0.se.conv_expand.weight': (1152, 48, 1, 1),
        'conv_head.weight': (1280, 320, 1, 1), 'bn2.running_var': (1280,)}),
}


@pytest.mark.parametrize('case', TIMM)
def test_timms_names(case):
    model, known = TIMM[case]
    shapes = bridge.shapes_of(model)
    zeros = {path: np.broadcast_to(np.float32(0), leaf.shape) for path, leaf in shapes.items()}
    layers = bridge._layers(model, 'timm', shapes)
    found = {}
    for path, x in zeros.items():
        theirs, rule = layers['/'.join(path[1:-1])]
        found[f'{theirs}.{bridge._LEAVES[path[-1]]}'] = bridge._there(x, rule, zeros, path).shape
    assert {name: found.get(name) for name in known} == known
    assert len(found) == len(shapes)


def test_a_state_dict_and_safetensors_of_torch_load_without_torch(tmp_path):
    """Both files, written by torch, give the same bits; ours, read by torch, fits its network."""
    net = peers.randomise(nets.ResNetPeer((1, 2), 4, n=N))
    model = SMALL['ResNet']
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    torch.save({'epoch': 3, 'state_dict': net.state_dict()}, tmp_path / 'checkpoint.pt')
    save_torch(net.state_dict(), tmp_path / 'net.safetensors')
    memory = bridge.from_names(model, peers.numpy_state(net), 'torchvision')
    for name in ('net.pth', 'checkpoint.pt', 'net.safetensors'):
        assert bits(bridge.load(model, tmp_path / name, 'torchvision')) == bits(memory), name
    bridge.save(tmp_path / 'ours.safetensors', model, memory, 'torchvision')
    other = nets.ResNetPeer((1, 2), 4, n=N)
    other.load_state_dict(load_torch(tmp_path / 'ours.safetensors'), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters()))


def test_hugging_face_reads_what_we_write(tmp_path):
    config = transformers.ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 2], layer_type='basic',
                                       num_labels=N)
    model, x = SMALL['ResNet'], np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = bridge.from_names(model, peers.numpy_state(
        peers.randomise(transformers.ResNetForImageClassification(config), 1)), 'huggingface')
    config.save_pretrained(tmp_path)
    bridge.save(tmp_path / 'model.safetensors', model, variables, 'huggingface')
    net, info = transformers.ResNetForImageClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[kind] for kind in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
    with torch.no_grad():
        theirs = net.eval()(torch.tensor(x.transpose(0, 3, 1, 2))).logits.numpy()
    assert np.abs(model.apply(variables, x) - theirs).max() <= 1e-5 * np.abs(theirs).max()


def seen_by(net, x):
    """{module: its output} of a torch network, each output copied before an in-place ReLU gets at it."""
    seen = {}
    hooks = [m.register_forward_hook(lambda m, args, y, name=name: seen.__setitem__(name, y.detach().clone().numpy()))
             for name, m in net.named_modules() if name and not list(m.children())]
    with torch.no_grad():
        net(torch.tensor(np.asarray(x).transpose(0, 3, 1, 2)))
    for hook in hooks:
        hook.remove()
    return seen


def epsilon_of(name):
    """The trap of oracles.md: a batch norm's other epsilon."""
    return lambda net: setattr(net.get_submodule(name), 'eps', 1e-1)


def bias_of(name):
    def spoil(net):
        with torch.no_grad():
            net.get_submodule(name).bias.add_(0.3)
    return spoil


V3 = (SMALL['MobileNetV3'], lambda: mobile.MobileNetV3Peer(SMALL['MobileNetV3'].stages, 16, n=N), 'torchvision')
V2 = (SMALL['ResNet v2'], lambda: nets.ResNetV2Peer((2, 1), 4, True, n=N), 'timm')
SPOILED = {         # layers of ours on vectors are 1x1 convolutions there: the squeezes of V3, the head of v2
    'V3 norm': (*V3, epsilon_of('features.2.block.1.1'), 'stage2_0/depthwise_norm', 'features.2.block.1.1'),
    'V3 squeeze': (*V3, bias_of('features.1.block.1.fc2'), 'stage1_0/squeeze/expand', 'features.1.block.1.fc2'),
    'V3 last norm': (*V3, epsilon_of('features.4.1'), 'last_norm', 'features.4.1'),
    'v2 norm': (*V2, epsilon_of('stages.0.blocks.1.norm2'), 'stage1_1/norm2', 'stages.0.blocks.1.norm2'),
    'v2 last norm': (*V2, epsilon_of('norm'), 'norm', 'norm'),
    'v2 head': (*V2, bias_of('head.fc'), 'head', 'head.fc'),
}


@pytest.mark.parametrize('case', SPOILED)
def test_the_report_names_the_first_layer_that_differs_in_other_networks(case):
    """Without the fault all layers agree, and none is left out; with it the first to differ is the one at fault."""
    model, make, library, spoil, ours, theirs = SPOILED[case]
    net = peers.randomise(make()).eval()
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = bridge.from_names(model, peers.numpy_state(net), library)
    rows = report.compare(model, variables, x, seen_by(net, x), library)
    assert sorted(row.ours for row in rows) == sorted(bridge.names(model, library))
    assert report.first_difference(rows) is None, report.as_text(rows)
    spoil(net)
    rows = report.compare(model, variables, x, seen_by(net, x), library)
    first = report.first_difference(rows)
    assert (first.ours, first.theirs) == (ours, theirs), report.as_text(rows)
    assert np.isfinite(first.error) and first.error > 1e-3
    before = rows[:rows.index(first)]
    assert all(row.error < 1e-5 for row in before)


def test_the_report_names_the_first_layer_that_differs():
    net = peers.randomise(nets.ResNetPeer((1, 2), 4, n=N)).eval()
    model, x = SMALL['ResNet'], np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32)
    variables = bridge.from_names(model, peers.numpy_state(net), 'torchvision')
    rows = report.compare(model, variables, x, seen_by(net, x), 'torchvision')
    assert len(rows) == len(bridge.names(model, 'torchvision'))
    assert [row.ours for row in rows[:3]] == ['stem_conv', 'stem_norm', 'stage1_0/conv1'] and rows[-1].ours == 'head'
    assert report.first_difference(rows) is None
    assert report.as_text(rows).startswith(f'all {len(rows)} layers agree')

    net.layer2[0].bn1.eps = 1e-3            # the trap of oracles.md
    rows = report.compare(model, variables, x, seen_by(net, x), 'torchvision')
    first = report.first_difference(rows)
    assert (first.ours, first.theirs) == ('stage2_0/norm1', 'layer2.0.bn1')
    assert 'stage2_0/norm1 = layer2.0.bn1 is the first that differs' in report.as_text(rows)
    assert rows[-1].error > 1e-5            # and what comes behind it differs too

    seen = seen_by(net, x)
    del seen['bn1']
    assert report.first_difference(report.compare(model, variables, x, seen, 'torchvision')).ours == 'stem_norm'
    seen['bn1'] = seen['conv1'][:, :2]
    first = report.first_difference(report.compare(model, variables, x, seen, 'torchvision'))
    assert first.ours == 'stem_norm' and first.error == np.inf


def refused(model, state, library='torchvision'):
    with pytest.raises(ValueError) as error:
        bridge.from_names(model, state, library)
    assert '\n' not in str(error.value)
    return str(error.value)


def test_strict():
    model = SMALL['ResNet']
    state = bridge.to_names(model, variables_of(model), 'torchvision')
    assert refused(model, {k: v for k, v in state.items() if k != 'layer1.0.bn2.running_var'}) == (
        'state: missing: layer1.0.bn2.running_var')
    assert refused(model, state | {'fc2.bias': np.zeros(3)}) == 'state: left over: fc2.bias'
    assert refused(model, state | {'fc.bias': np.zeros(4, np.float32)}) == (
        'state: fc.bias: expected shape (3,), found (4,)')
    assert refused(model, state | {'fc.bias': np.zeros(3)}) == (
        'fc.bias: expected a type that JAX keeps, found float64, kept as float32')
    assert "library: expected one of torchvision, timm, huggingface that has this network; found 'keras'" in refused(
        model, state, 'keras')
    assert 'for VGG' in refused(SMALL['VGG'], state, 'huggingface')
    with pytest.raises(ValueError, match='for ResNet'):
        table(SMALL['ResNet v2'], 'torchvision')
    with pytest.raises(ValueError, match='variables: params/head/bias: expected shape'):
        variables = variables_of(model)
        variables['params']['head']['bias'] = jnp.zeros(7)
        bridge.to_names(model, variables, 'torchvision')


def test_files_that_cannot_be_read(tmp_path):
    model = SMALL['ResNet']
    (tmp_path / 'bad.safetensors').write_bytes(b'\x10\0\0\0\0\0\0\0{}')
    for name in ('bad.safetensors', 'none.safetensors', 'none.pth'):
        with pytest.raises(ValueError, match=f'{name}: cannot be read'):
            bridge.load(model, tmp_path / name, 'torchvision')
    save_file({'x': np.zeros(2, np.float32)}, tmp_path / 'other.safetensors')
    with pytest.raises(ValueError, match='other.safetensors: state: missing: bn1.bias'):
        bridge.load(model, tmp_path / 'other.safetensors', 'torchvision')


def test_images_of_other_sizes_and_colours():
    model, image = AlexNet('original', n_classes=N, width=4, hidden=8), (99, 99, 1)
    variables = variables_of(model, image)
    state = bridge.to_names(model, variables, 'torchvision', image=image)
    assert state['features.0.weight'].shape == (6, 1, 11, 11) and state['classifier.1.weight'].shape == (8, 4 * 16)
    assert bits(bridge.from_names(model, state, 'torchvision', image=image)) == bits(variables)
