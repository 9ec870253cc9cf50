"""Level 0, foundations: gradient descent and its relatives as optax transformations.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level0_foundations.optimisers'
_TOPIC = 'Gradient descent'

DONE = ()     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='sgd',
        kind='optimiser',
        import_path=f'{_HERE}.sgd',
        level=0,
        topic=_TOPIC,
        oracle='torch.optim.SGD, optax.sgd',
        paper='Robbins, Monro 1951; Polyak 1964; Nesterov 1983; Sutskever et al. 2013',
    ),
    Member(
        name='adam',
        kind='optimiser',
        import_path=f'{_HERE}.adam',
        level=0,
        topic=_TOPIC,
        oracle='torch.optim.Adam, optax.adam',
        paper='Kingma, Ba 2015, Adam: a method for stochastic optimization',
    ),
    Member(
        name='adamw',
        kind='optimiser',
        import_path=f'{_HERE}.adamw',
        level=0,
        topic=_TOPIC,
        oracle='torch.optim.AdamW, optax.adamw',
        paper='Loshchilov, Hutter 2019, Decoupled weight decay regularization',
    ),
    Member(
        name='rmsprop',
        kind='optimiser',
        import_path=f'{_HERE}.rmsprop',
        level=0,
        topic=_TOPIC,
        oracle='torch.optim.RMSprop, optax.rmsprop',
        paper='Tieleman, Hinton 2012, lecture 6.5; Graves 2013, Generating sequences with recurrent neural networks',
    ),
)
