"""Level 7, advanced topics: graph networks and link prediction, generative adversarial networks.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level7_advanced'
_GCN = 'Graph Convolutional Networks (GCN)'
_LINKS = 'Link Prediction'
_OGB = 'Hu et al. 2020, Open Graph Benchmark: datasets for machine learning on graphs'
_OGB_ORACLE = 'OGB evaluator, its formulae in NumPy and SciPy (tests/parity/test_link_metrics.py); hand values'
_VGAE = 'Kipf, Welling 2016, Variational graph auto-encoders'
_VAE = 'Kingma, Welling 2014, Auto-encoding variational Bayes'

DONE = (_GCN, _LINKS)     # topics whose definition of done is met, tests and all

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
        name='VariationalGCN',
        kind='gnn layer',
        import_path=f'{_HERE}.graphs.gcn.VariationalGCN',
        level=7,
        topic=_LINKS,
        oracle='torch_geometric.nn.GCNConv, stacked, in torch_geometric.nn.VGAE',
        paper=f'{_VGAE}, section 1',
    ),
    Member(
        name='DotDecoder',
        kind='op',
        import_path=f'{_HERE}.graphs.link_prediction.DotDecoder',
        level=7,
        topic=_LINKS,
        oracle='torch_geometric.nn.GAE, its InnerProductDecoder',
        paper=f'{_VGAE}, equation 2',
    ),
    Member(
        name='MLPDecoder',
        kind='op',
        import_path=f'{_HERE}.graphs.link_prediction.MLPDecoder',
        level=7,
        topic=_LINKS,
        oracle='torch.nn.Sequential on the product of two nodes',
        paper=f'{_OGB}, section 5',
    ),
    Member(
        name='reparametrise',
        kind='op',
        import_path=f'{_HERE}.graphs.variational.reparametrise',
        level=7,
        topic=_LINKS,
        oracle='torch_geometric.nn.VGAE.reparametrize',
        paper=f'{_VAE}, section 2.4',
    ),
    Member(
        name='kl_to_normal',
        kind='op',
        import_path=f'{_HERE}.graphs.variational.kl_to_normal',
        level=7,
        topic=_LINKS,
        oracle='torch_geometric.nn.VGAE.kl_loss',
        paper=f'{_VAE}, appendix B',
    ),
    Member(
        name='draw_structured',
        kind='op',
        import_path=f'{_HERE}.graphs.negatives.draw_structured',
        level=7,
        topic=_LINKS,
        oracle='torch_geometric.utils.structured_negative_sampling',
        paper='Bordes et al. 2013, Translating embeddings for modeling multi-relational data, equation 2',
    ),
    Member(
        name='draw_hard',
        kind='op',
        import_path=f'{_HERE}.graphs.negatives.draw_hard',
        level=7,
        topic=_LINKS,
        oracle='search of all candidates (tests/parity/test_link_negatives.py)',
        paper='Zhang et al. 2013, Optimizing top-N collaborative filtering via dynamic negative item sampling',
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
        oracle=_OGB_ORACLE,
        paper=_OGB,
    ),
    Member(
        name='hits_at',
        kind='op',
        import_path=f'{_HERE}.graphs.link_metrics.hits_at',
        level=7,
        topic=_LINKS,
        oracle=_OGB_ORACLE,
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
