"""The convolutional networks of level 3 and the same in torch: a row for each, trained and asked, at two sizes.  No JAX
here.

Both sides begin with the same weights, drawn by `weight` from a name of torchvision's and a shape, and see the same
images of noise in the same order; so they must reach the same loss, which is what is compared.  Dropout and stochastic
depth are off, as their masks would differ.
"""
import importlib
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tools.bench.forms import Pair, Peer, Quality

GROUP = 'vision'
BATCHES, CLASSES = 4, 10        # how many different batches there are
RATE, MOMENTUM = 1e-4, 0.9      # so small that rounding does not grow into another loss in 24 steps
SMALL = 32                      # the side of CIFAR's images


class Net(NamedTuple):
    """A network by its path below levels.level3_vision and its options, the class in `torch_nets` or `torch_mobile` and
    its options (or what they are taken from, where that is a table of ours); `small` are those of both for images of
    32 x 32."""
    path: str
    options: Mapping[str, Any]
    peer: str
    peer_options: Mapping[str, Any]
    small: tuple[Mapping[str, Any], Mapping[str, Any]] = (MappingProxyType({}), MappingProxyType({}))


_STEM = ({'stem_stride': 1}, {'stem': 1})
NETS = {
    'resnet18': Net('resnet.ResNet', {'depth': 18, 'zero_init': False}, 'ResNetPeer', {'blocks': (2, 2, 2, 2)},
                    ({'stem': 'cifar'}, {'cifar': True})),
    'resnet50': Net('resnet.ResNet', {'depth': 50, 'zero_init': False}, 'ResNetPeer',
                    {'blocks': (3, 4, 6, 3), 'deep': True}),
    'vgg11_bn': Net('vgg.VGG', {'depth': 11, 'batch_norm': True, 'dropout': 0.0}, 'VGGPeer',
                    {'groups': (1, 1, 2, 2, 2), 'norm': True}, ({'hidden': 512}, {'hidden': 512})),
    'alexnet': Net('alexnet.AlexNet', {'dropout': 0.0}, 'AlexNetPeer', {}),
    'mobilenet_v2': Net('mobilenet.MobileNetV2', {'dropout': 0.0}, 'MobileNetV2Peer',
                        {'stages': 'mobilenet.V2_STAGES'}, _STEM),
    'mobilenet_v3': Net('mobilenet.MobileNetV3', {'dropout': 0.0}, 'MobileNetV3Peer',
                        {'stages': 'mobilenet.V3_STAGES.large', 'hidden': 1280}, _STEM),
    'efficientnet_b0': Net('efficientnet.EfficientNet', {'dropout': 0.0, 'drop_path': 0.0}, 'EfficientNetPeer',
                           {'stages': 'efficientnet.STAGES'}, _STEM),
}
TARGETS = {'resnet18_32_train': 0.85, 'mobilenet_v2_32_train': 0.7, 'efficientnet_b0_32_train': 0.7}
# name -> batch at the small size and at 224, 0 for none; a step takes a second at most
BATCH = {'resnet18': (16, 0), 'resnet50': (0, 4), 'vgg11_bn': (32, 4), 'alexnet': (0, 32), 'mobilenet_v2': (32, 8),
         'mobilenet_v3': (32, 8), 'efficientnet_b0': (16, 8)}


def at(path: str):
    """What a dotted path below levels.level3_vision names."""
    module, *names = path.split('.')
    found = importlib.import_module(f'levels.level3_vision.{module}')
    for name in names:
        found = found[name] if isinstance(found, Mapping) else getattr(found, name)
    return found


def weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """float32 weights of a layer: He et al.'s for a kernel, 1 for scales and variances, 0 for the rest."""
    if len(shape) < 2:
        return np.full(shape, float(name.endswith(('weight', 'running_var'))), np.float32)
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    return rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)


def images(pair: Pair) -> dict[str, np.ndarray]:
    """{'image' float32 [n, side, side, 3], 'label' int32 [n]} of BATCHES batches."""
    side, n = pair.sizes['side'], BATCHES * pair.sizes['batch']
    rng = np.random.Generator(np.random.PCG64(0))
    return {'image': rng.standard_normal((n, side, side, 3), np.float32),
            'label': rng.integers(0, CLASSES, n).astype(np.int32)}


def _pairs():
    for name in NETS:
        for side, batch in zip((SMALL, 224), BATCH[name]):
            for do in ('train', 'infer') if batch else ():
                target = TARGETS.get(row := f'{name}_{side}_{do}')
                what = f'{name} at {side} x {side}, batch {batch}, ' + (
                    f'SGD with momentum {MOMENTUM}' if do == 'train' else 'logits alone')
                yield Pair(row, what, (Peer('torch_vision.eager', target), Peer('torch_vision.compiled', target)),
                           'images', batch, 4, 5, Quality('loss', 'lower', 0.02),
                           {'net': name, 'side': side, 'batch': batch, 'train': do == 'train'}, group=GROUP,
                           one_thread=False, own_devices=True)


PAIRS = tuple(_pairs())
