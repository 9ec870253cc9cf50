"""Level 3, convolutional networks: convolution, pooling, LeNet and its successors.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level3_vision'
_LENET = 'LeCun, Bottou, Bengio, Haffner 1998, Gradient-based learning applied to document recognition'
_POOLING = 'Pooling Layers'

DONE = ('LeNet',)     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='conv_general_dilated',
        kind='op',
        import_path=f'{_HERE}.conv.conv_general_dilated',
        level=3,
        topic='Convolution Operations',
        oracle='torch.nn.functional.conv2d, jax.lax.conv_general_dilated',
        paper='LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition',
    ),
    Member(
        name='Conv',
        kind='linen module',
        import_path=f'{_HERE}.conv.Conv',
        level=3,
        topic='Convolution Operations',
        oracle='torch.nn.Conv2d',
        paper='LeCun et al. 1989, Backpropagation applied to handwritten zip code recognition',
    ),
    Member(
        name='conv_planes',
        kind='op',
        import_path=f'{_HERE}.planes.conv_planes',
        level=3,
        topic='Convolution Operations',
        oracle='torch.nn.functional.conv2d',
        paper='Krizhevsky 2014, cuda-convnet2 (the layout)',
    ),
    Member(
        name='max_pool',
        kind='op',
        import_path=f'{_HERE}.pooling.max_pool',
        level=3,
        topic=_POOLING,
        oracle='torch.nn.functional.max_pool2d',
        paper='Scherer, Mueller, Behnke 2010, Evaluation of pooling operations in convolutional architectures',
    ),
    Member(
        name='avg_pool',
        kind='op',
        import_path=f'{_HERE}.pooling.avg_pool',
        level=3,
        topic=_POOLING,
        oracle='torch.nn.functional.avg_pool2d',
        paper='LeCun et al. 1989, Handwritten digit recognition with a back-propagation network',
    ),
    Member(
        name='LeNet5',
        kind='linen module',
        import_path=f'{_HERE}.lenet.LeNet5',
        level=3,
        topic='LeNet',
        oracle='the same network in torch, weights copied',
        paper=_LENET,
    ),
    Member(
        name='LeNet5Original',
        kind='linen module',
        import_path=f'{_HERE}.lenet.LeNet5Original',
        level=3,
        topic='LeNet',
        oracle='the same network in torch, weights copied',
        paper=_LENET,
    ),
    Member(
        name='rbf_mse_loss',
        kind='loss',
        import_path=f'{_HERE}.lenet.rbf_mse_loss',
        level=3,
        topic='LeNet',
        oracle='torch, hand values',
        paper=f'{_LENET}, eq. 8',
    ),
    Member(
        name='rbf_map_loss',
        kind='loss',
        import_path=f'{_HERE}.lenet.rbf_map_loss',
        level=3,
        topic='LeNet',
        oracle='torch, hand values',
        paper=f'{_LENET}, eq. 9',
    ),
)
