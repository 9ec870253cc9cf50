"""Level 2, neural network basics: perceptron, MLP, backprop, losses, regularisation, frameworks.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level2_neural'

DONE = ('Multi-Layer Perceptron (MLP)',)     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='MLP',
        kind='linen module',
        import_path=f'{_HERE}.mlp.MLP',
        level=2,
        topic='Multi-Layer Perceptron (MLP)',
        oracle='torch.nn.Sequential of torch.nn.Linear',
        paper='Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors',
    ),
    Member(
        name='softmax_cross_entropy',
        kind='loss',
        import_path=f'{_HERE}.losses.softmax_cross_entropy',
        level=2,
        topic='Cross-entropy, MSE',
        oracle='torch.nn.functional.cross_entropy',
        paper='Bridle 1990, Probabilistic interpretation of feedforward classification network outputs',
    ),
    Member(
        name='binary_cross_entropy',
        kind='loss',
        import_path=f'{_HERE}.losses.binary_cross_entropy',
        level=2,
        topic='Cross-entropy, MSE',
        oracle='torch.nn.functional.binary_cross_entropy_with_logits',
        paper='Cox 1958, The regression analysis of binary sequences',
    ),
    Member(
        name='squared_error',
        kind='loss',
        import_path=f'{_HERE}.losses.squared_error',
        level=2,
        topic='Cross-entropy, MSE',
        oracle='torch.nn.functional.mse_loss',
        paper='Gauss 1809, Theoria motus',
    ),
    Member(
        name='focal_loss',
        kind='loss',
        import_path=f'{_HERE}.losses.focal_loss',
        level=2,
        topic='Loss Functions',
        oracle='the formula in torch',
        paper='Lin et al. 2017, Focal loss for dense object detection',
    ),
    Member(
        name='huber_loss',
        kind='loss',
        import_path=f'{_HERE}.losses.huber_loss',
        level=2,
        topic='Loss Functions',
        oracle='torch.nn.functional.huber_loss',
        paper='Huber 1964, Robust estimation of a location parameter',
    ),
    Member(
        name='hinge_loss',
        kind='loss',
        import_path=f'{_HERE}.losses.hinge_loss',
        level=2,
        topic='Loss Functions',
        oracle='torch.nn.functional.margin_ranking_loss',
        paper='Cortes, Vapnik 1995, Support-vector networks',
    ),
    Member(
        name='multi_margin_loss',
        kind='loss',
        import_path=f'{_HERE}.losses.multi_margin_loss',
        level=2,
        topic='Loss Functions',
        oracle='torch.nn.functional.multi_margin_loss',
        paper='Weston, Watkins 1999, Support vector machines for multi-class pattern recognition',
    ),
    Member(
        name='kl_divergence',
        kind='loss',
        import_path=f'{_HERE}.losses.kl_divergence',
        level=2,
        topic='Loss Functions',
        oracle='torch.nn.functional.kl_div',
        paper='Kullback, Leibler 1951, On information and sufficiency',
    ),
)
