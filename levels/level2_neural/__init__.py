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
)
