"""Level 4, recurrent networks: Elman's network, GRU and LSTM as cells, and the scan that runs them over time.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component. `unroll.unroll` and
`unroll.bidirectional` run any of the cells; they are of no kind and have no row.
"""

from levels import Member

_HERE = 'levels.level4_sequence'

DONE = ('RNN (Recurrent Neural Network)', 'GRU')     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='RNN',
        kind='cell',
        import_path=f'{_HERE}.rnn.RNN',
        level=4,
        topic='RNN (Recurrent Neural Network)',
        oracle='torch.nn.RNN',
        paper='Elman 1990, Finding structure in time',
    ),
    Member(
        name='GRU',
        kind='cell',
        import_path=f'{_HERE}.gru.GRU',
        level=4,
        topic='GRU',
        oracle='torch.nn.GRU',
        paper='Cho et al. 2014, Learning phrase representations using RNN encoder-decoder',
    ),
    Member(
        name='LSTM',
        kind='cell',
        import_path=f'{_HERE}.lstm.LSTM',
        level=4,
        topic='LSTM',
        oracle='torch.nn.LSTM',
        paper='Hochreiter, Schmidhuber 1997, Long short-term memory',
    ),
)
