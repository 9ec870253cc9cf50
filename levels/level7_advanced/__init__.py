"""Level 7, advanced topics: graph networks and link prediction, generative adversarial networks.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level7_advanced'
_GCN = 'Graph Convolutional Networks (GCN)'
_LINKS = 'Link Prediction'
_OGB = 'Hu et al. 2020, Open Graph Benchmark: datasets for machine learning on graphs'

DONE = (_GCN,)     # topics whose definition of done is met, tests and all

MEMBERS = (
    Member(
        name='GCNConv',
        kind='gnn layer',
        import_path=f'{_HERE}.graphs.gcn.GCNConv',
        level=7,
        topic=_GCN,
        oracle='torch_geometric.nn.GCNConv',
        paper='Kipf, Welling 2017, Semi-supervised classification with graph convolutional networks, equation 8',
    ),
    Member(
        name='GCN',
        kind='gnn layer',
        import_path=f'{_HERE}.graphs.gcn.GCN',
        level=7,
        topic=_GCN,
        oracle='torch_geometric.nn.GCNConv, stacked',
        paper='Kipf, Welling 2017, Semi-supervised classification with graph convolutional networks, equation 9',
    ),
    Member(
        name='SGConv',
        kind='gnn layer',
        import_path=f'{_HERE}.graphs.gcn.SGConv',
        level=7,
        topic=_GCN,
        oracle='torch_geometric.nn.SGConv',
        paper='Wu et al. 2019, Simplifying graph convolutional networks, equation 8',
    ),
    Member(
        name='roc_auc',
        kind='op',
        import_path=f'{_HERE}.graphs.link_metrics.roc_auc',
        level=7,
        topic=_LINKS,
        oracle='sklearn.metrics.roc_auc_score',
        paper='Hanley, McNeil 1982, The meaning and use of the area under a ROC curve',
    ),
    Member(
        name='average_precision',
        kind='op',
        import_path=f'{_HERE}.graphs.link_metrics.average_precision',
        level=7,
        topic=_LINKS,
        oracle='sklearn.metrics.average_precision_score',
        paper='scikit-learn, average_precision_score (Pedregosa et al. 2011)',
    ),
    Member(
        name='mrr',
        kind='op',
        import_path=f'{_HERE}.graphs.link_metrics.mrr',
        level=7,
        topic=_LINKS,
        oracle='hand values',
        paper=_OGB,
    ),
    Member(
        name='hits_at',
        kind='op',
        import_path=f'{_HERE}.graphs.link_metrics.hits_at',
        level=7,
        topic=_LINKS,
        oracle='hand values',
        paper=_OGB,
    ),
    Member(
        name='gan',
        kind='generative',
        import_path=f'{_HERE}.generative.gan.gan',
        level=7,
        topic='GANs',
        oracle='closed forms (tests/contracts/test_generative.py)',
        paper='Goodfellow et al. 2014, Generative adversarial nets, algorithm 1',
    ),
    Member(
        name='wgan_gp',
        kind='generative',
        import_path=f'{_HERE}.generative.gan.wgan_gp',
        level=7,
        topic='GANs',
        oracle='closed forms (tests/contracts/test_generative.py)',
        paper='Gulrajani et al. 2017, Improved training of Wasserstein GANs, algorithm 1',
    ),
)
