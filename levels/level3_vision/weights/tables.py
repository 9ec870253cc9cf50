"""Which layer is called what: for each family and library, the rules that turn our layer paths into their names.

A rule is (ours, theirs) and sometimes more. `{s}` in ours stands for a number and is kept under that letter; theirs may
count with the letters, as in `{s-1}` or `{3n+g}`. `n` is always there: the running number, from 0, of the block or
group that a path begins with, `stage3_1` or `conv2_1`. The first rule that fits a layer is taken. `given` names layers
(below the same block, or in full with a leading slash) that must be there for a rule to fit.

`form` says how a dense kernel [in, out] of ours lies in theirs, where that is not [out, in]:
    pixel       theirs is a convolution of 1x1
    flatten     its inputs are a flattened image, which lies channels first there and channels last here
    window      as `flatten`, and theirs is a convolution whose window is that whole image
Convolutions are OIHW there and HWIO here, always.
"""

from typing import NamedTuple

from levels.level3_vision.alexnet import AlexNet
from levels.level3_vision.efficientnet import EfficientNet
from levels.level3_vision.mobilenet import MobileNetV2, MobileNetV3
from levels.level3_vision.resnet import ResNet
from levels.level3_vision.vgg import VGG


class Rule(NamedTuple):
    ours: str
    theirs: str
    given: tuple[str, ...] = ()
    form: str = ''


LIBRARIES = ('torchvision', 'timm', 'huggingface')

_RESNET = (
    Rule('stem_conv', 'conv1'),
    Rule('stem_norm', 'bn1'),
    Rule('stage{s}_{b}/conv{i}', 'layer{s}.{b}.conv{i}'),
    Rule('stage{s}_{b}/norm{i}', 'layer{s}.{b}.bn{i}'),
    Rule('stage{s}_{b}/shortcut', 'layer{s}.{b}.downsample.0'),
    Rule('stage{s}_{b}/shortcut_norm', 'layer{s}.{b}.downsample.1'),
    Rule('head', 'fc'),
)
_RESNET_V2 = (      # timm alone has it
    Rule('stem_conv', 'stem.conv'),
    Rule('stage{s}_{b}/conv{i}', 'stages.{s-1}.blocks.{b}.conv{i}'),
    Rule('stage{s}_{b}/norm{i}', 'stages.{s-1}.blocks.{b}.norm{i}'),
    Rule('stage{s}_{b}/shortcut', 'stages.{s-1}.blocks.{b}.downsample.conv'),
    Rule('norm', 'norm'),
    Rule('head', 'head.fc', form='pixel'),
)
_RESNET_HF = (
    Rule('stem_conv', 'resnet.embedder.embedder.convolution'),
    Rule('stem_norm', 'resnet.embedder.embedder.normalization'),
    Rule('stage{s}_{b}/conv{i}', 'resnet.encoder.stages.{s-1}.layers.{b}.layer.{i-1}.convolution'),
    Rule('stage{s}_{b}/norm{i}', 'resnet.encoder.stages.{s-1}.layers.{b}.layer.{i-1}.normalization'),
    Rule('stage{s}_{b}/shortcut', 'resnet.encoder.stages.{s-1}.layers.{b}.shortcut.convolution'),
    Rule('stage{s}_{b}/shortcut_norm', 'resnet.encoder.stages.{s-1}.layers.{b}.shortcut.normalization'),
    Rule('head', 'classifier.1'),
)
_VGG = (
    Rule('conv{g}_{i}', 'features.{3n+g-1}', given=('/norm{g}_{i}',)),
    Rule('norm{g}_{i}', 'features.{3n+g}'),
    Rule('conv{g}_{i}', 'features.{2n+g-1}'),
)
_VGG_TORCHVISION = (
    *_VGG,
    Rule('dense6', 'classifier.0', form='flatten'),
    Rule('dense7', 'classifier.3'),
    Rule('head', 'classifier.6'),
)
_VGG_TIMM = (
    *_VGG,
    Rule('dense6', 'pre_logits.fc1', form='window'),
    Rule('dense7', 'pre_logits.fc2', form='pixel'),
    Rule('head', 'head.fc'),
)
_ALEXNET = (
    Rule('conv1', 'features.0'),
    Rule('conv2', 'features.3'),
    Rule('conv3', 'features.6'),
    Rule('conv4', 'features.8'),
    Rule('conv5', 'features.10'),
    Rule('dense6', 'classifier.1', form='flatten'),
    Rule('dense7', 'classifier.4'),
    Rule('head', 'classifier.6'),
)
_MOBILENET_V2 = (
    Rule('stem_conv', 'features.0.0'),
    Rule('stem_norm', 'features.0.1'),
    Rule('stage{s}_{b}/expand', 'features.{n+1}.conv.0.0'),
    Rule('stage{s}_{b}/expand_norm', 'features.{n+1}.conv.0.1'),
    Rule('stage{s}_{b}/depthwise', 'features.{n+1}.conv.1.0', given=('expand',)),
    Rule('stage{s}_{b}/depthwise_norm', 'features.{n+1}.conv.1.1', given=('expand',)),
    Rule('stage{s}_{b}/project', 'features.{n+1}.conv.2', given=('expand',)),
    Rule('stage{s}_{b}/project_norm', 'features.{n+1}.conv.3', given=('expand',)),
    Rule('stage{s}_{b}/depthwise', 'features.{n+1}.conv.0.0'),
    Rule('stage{s}_{b}/depthwise_norm', 'features.{n+1}.conv.0.1'),
    Rule('stage{s}_{b}/project', 'features.{n+1}.conv.1'),
    Rule('stage{s}_{b}/project_norm', 'features.{n+1}.conv.2'),
    Rule('last_conv', 'features.{n+1}.0'),
    Rule('last_norm', 'features.{n+1}.1'),
    Rule('head', 'classifier.1'),
)


def _torchvision_blocks(block: str) -> tuple[Rule, ...]:
    """MBConv as torchvision's V3 and EfficientNet have it: numbered in the order in which its parts exist."""
    rules = [Rule('stage{s}_{b}/expand', f'{block}.0.0'), Rule('stage{s}_{b}/expand_norm', f'{block}.0.1')]
    for expand in (1, 0):
        for squeeze in (1, 0):
            given = ('expand',) * expand + ('squeeze/reduce',) * squeeze
            rules += [
                Rule('stage{s}_{b}/depthwise', f'{block}.{expand}.0', given),
                Rule('stage{s}_{b}/depthwise_norm', f'{block}.{expand}.1', given),
                Rule('stage{s}_{b}/project', f'{block}.{expand + 1 + squeeze}.0', given),
                Rule('stage{s}_{b}/project_norm', f'{block}.{expand + 1 + squeeze}.1', given),
            ]
            if squeeze:
                rules += [Rule('stage{s}_{b}/squeeze/reduce', f'{block}.{expand + 1}.fc1', given, 'pixel'),
                          Rule('stage{s}_{b}/squeeze/expand', f'{block}.{expand + 1}.fc2', given, 'pixel')]
    return tuple(rules)


_MOBILENET_V3 = (
    Rule('stem_conv', 'features.0.0'),
    Rule('stem_norm', 'features.0.1'),
    *_torchvision_blocks('features.{n+1}.block'),
    Rule('last_conv', 'features.{n+1}.0'),
    Rule('last_norm', 'features.{n+1}.1'),
    Rule('dense', 'classifier.0'),
    Rule('head', 'classifier.3'),
)
_EFFICIENTNET = (
    Rule('stem_conv', 'features.0.0'),
    Rule('stem_norm', 'features.0.1'),
    *_torchvision_blocks('features.{s}.{b}.block'),
    Rule('last_conv', 'features.{m+1}.0'),
    Rule('last_norm', 'features.{m+1}.1'),
    Rule('head', 'classifier.1'),
)
_TIMM_BLOCKS = (
    Rule('stem_conv', 'conv_stem'),
    Rule('stem_norm', 'bn1'),
    Rule('stage{s}_{b}/expand', 'blocks.{s-1}.{b}.conv_pw'),
    Rule('stage{s}_{b}/expand_norm', 'blocks.{s-1}.{b}.bn1'),
    Rule('stage{s}_{b}/depthwise', 'blocks.{s-1}.{b}.conv_dw'),
    Rule('stage{s}_{b}/depthwise_norm', 'blocks.{s-1}.{b}.bn2', given=('expand',)),
    Rule('stage{s}_{b}/depthwise_norm', 'blocks.{s-1}.{b}.bn1'),
    Rule('stage{s}_{b}/squeeze/reduce', 'blocks.{s-1}.{b}.se.conv_reduce', form='pixel'),
    Rule('stage{s}_{b}/squeeze/expand', 'blocks.{s-1}.{b}.se.conv_expand', form='pixel'),
    Rule('stage{s}_{b}/project', 'blocks.{s-1}.{b}.conv_pwl', given=('expand',)),
    Rule('stage{s}_{b}/project_norm', 'blocks.{s-1}.{b}.bn3', given=('expand',)),
    Rule('stage{s}_{b}/project', 'blocks.{s-1}.{b}.conv_pw'),
    Rule('stage{s}_{b}/project_norm', 'blocks.{s-1}.{b}.bn2'),
    Rule('head', 'classifier'),
)
_TIMM_LAST = (Rule('last_conv', 'conv_head'), Rule('last_norm', 'bn2'))
_TIMM_V3_LAST = (
    Rule('last_conv', 'blocks.{m}.0.conv'),
    Rule('last_norm', 'blocks.{m}.0.bn1'),
    Rule('dense', 'conv_head', form='pixel'),
)


def _hf_mobilenet_block(ours: str, theirs: str) -> tuple[Rule, ...]:
    return tuple(rule for part, name in (('expand', 'expand_1x1'), ('depthwise', 'conv_3x3'), ('project', 'reduce_1x1'))
                 for rule in (Rule(f'{ours}/{part}', f'mobilenet_v2.{theirs}.{name}.convolution'),
                              Rule(f'{ours}/{part}_norm', f'mobilenet_v2.{theirs}.{name}.normalization')))


_MOBILENET_V2_HF = (
    Rule('stem_conv', 'mobilenet_v2.conv_stem.first_conv.convolution'),
    Rule('stem_norm', 'mobilenet_v2.conv_stem.first_conv.normalization'),
    *_hf_mobilenet_block('stage1_0', 'conv_stem'),
    *_hf_mobilenet_block('stage{s}_{b}', 'layer.{n-1}'),
    Rule('last_conv', 'mobilenet_v2.conv_1x1.convolution'),
    Rule('last_norm', 'mobilenet_v2.conv_1x1.normalization'),
    Rule('head', 'classifier'),
)
_B = 'efficientnet.encoder.blocks.{n}'
_EFFICIENTNET_HF = (
    Rule('stem_conv', 'efficientnet.embeddings.convolution'),
    Rule('stem_norm', 'efficientnet.embeddings.batchnorm'),
    Rule('stage{s}_{b}/expand', f'{_B}.expansion.expand_conv'),
    Rule('stage{s}_{b}/expand_norm', f'{_B}.expansion.expand_bn'),
    Rule('stage{s}_{b}/depthwise', f'{_B}.depthwise_conv.depthwise_conv'),
    Rule('stage{s}_{b}/depthwise_norm', f'{_B}.depthwise_conv.depthwise_norm'),
    Rule('stage{s}_{b}/squeeze/reduce', f'{_B}.squeeze_excite.reduce', form='pixel'),
    Rule('stage{s}_{b}/squeeze/expand', f'{_B}.squeeze_excite.expand', form='pixel'),
    Rule('stage{s}_{b}/project', f'{_B}.projection.project_conv'),
    Rule('stage{s}_{b}/project_norm', f'{_B}.projection.project_bn'),
    Rule('last_conv', 'efficientnet.encoder.top_conv'),
    Rule('last_norm', 'efficientnet.encoder.top_bn'),
    Rule('head', 'classifier'),
)

TABLES: dict[tuple[type, str], tuple[Rule, ...]] = {
    (ResNet, 'torchvision'): _RESNET,
    (ResNet, 'timm'): _RESNET,
    (ResNet, 'huggingface'): _RESNET_HF,
    (VGG, 'torchvision'): _VGG_TORCHVISION,
    (VGG, 'timm'): _VGG_TIMM,
    (AlexNet, 'torchvision'): _ALEXNET,
    (MobileNetV2, 'torchvision'): _MOBILENET_V2,
    (MobileNetV2, 'timm'): (*_TIMM_BLOCKS, *_TIMM_LAST),
    (MobileNetV2, 'huggingface'): _MOBILENET_V2_HF,
    (MobileNetV3, 'torchvision'): _MOBILENET_V3,
    (MobileNetV3, 'timm'): (*_TIMM_BLOCKS, *_TIMM_V3_LAST),
    (EfficientNet, 'torchvision'): _EFFICIENTNET,
    (EfficientNet, 'timm'): (*_TIMM_BLOCKS, *_TIMM_LAST),
    (EfficientNet, 'huggingface'): _EFFICIENTNET_HF,
}


def table(model, library: str) -> tuple[Rule, ...]:
    """The rules for a model; ValueError where the library has no such network."""
    if isinstance(model, ResNet) and model.version == 'v2':
        found = _RESNET_V2 if library == 'timm' else None
    else:
        found = TABLES.get((type(model), library))
    if found is None:
        raise ValueError(f'library: expected one of {", ".join(LIBRARIES)} that has this network; found {library!r} '
                         f'for {type(model).__name__}')
    return found
