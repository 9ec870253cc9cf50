"""Link prediction: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('imports', 'graph', choices=('imports', 'cora')),
    'features': field((64, 32), 'widths of the encoder\'s layers (GCN)', low=1),
    'decoder': field('mlp', 'what scores a pair: dot product, cosine, or a perceptron on the product of its ends',
                     choices=('dot', 'cosine', 'mlp')),
    'decoder_hidden': field((32,), 'widths of the perceptron\'s hidden layers', low=1),
    'dropout': field(0.5, 'share of features and hidden units dropped in training', low=0.0, high=0.9),
    'rate': field(1e-2, 'learning rate (AdamW)', low=0.0, high=10.0),
    'weight_decay': field(1e-2, 'decoupled weight decay', low=0.0),
    'val_share': field(0.05, 'share of the links for validation', low=0.001, high=0.5),
    'test_share': field(0.1, 'share of the links for testing', low=0.001, high=0.5),
    'disjoint': field(0.0, 'share of the training links that are asked about and not shown; 0: all are both', low=0.0,
                      high=0.9),
    'negatives': field('uniform', 'pairs that are no links: any two nodes, or one end of a link and any other node',
                       choices=('uniform', 'structured')),
    'picture': field('tsne', 'how the embedding is drawn', choices=('tsne', 'pca')),
}
SCHEDULE = {'steps_per_call': 20, 'log_every': 20, 'eval_every': 40, 'checkpoint_every': 100}
VARIANTS = {
    'full': {'batch_size': 4096, 'steps': 300, **SCHEDULE},
    'dot': {'decoder': 'dot', 'dropout': 0.2, 'weight_decay': 0.0, 'batch_size': 4096, 'steps': 300, **SCHEDULE},
    'cora': {'data': 'cora', 'decoder': 'cosine', 'features': (128, 64), 'rate': 5e-3, 'batch_size': 4480,
             'steps': 200, **SCHEDULE},
    'cora_mlp': {'data': 'cora', 'dropout': 0.6, 'batch_size': 4480, 'steps': 80, **SCHEDULE, 'checkpoint_every': 40},
    'smoke': {'features': (16, 8), 'batch_size': 512, 'steps': 20, 'steps_per_call': 5, 'log_every': 5,
              'eval_every': 10, 'checkpoint_every': 10, 'picture': 'pca'},
}
HARMLESS = ('picture',)


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.val_share + config.test_share > 0.8:
        raise ValueError(f'val_share={config.val_share}, test_share={config.test_share}: expected at most 0.8 together')


EXPECTED = {'full': {'auc': (0.97, '>='), 'ap': (0.97, '>=')}, 'dot': {'auc': (0.95, '>='), 'ap': (0.95, '>=')},
            'cora': {'auc': (0.92, '>='), 'ap': (0.93, '>=')}, 'cora_mlp': {'auc': (0.91, '>='), 'ap': (0.92, '>=')}}


def expected(config) -> dict[str, tuple[float, str]]:
    """Test AUC and AP that every correct run of a recipe reaches; none for shorter or changed ones."""
    free = {'seed', 'picture'}
    for size, values in EXPECTED.items():
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k not in free):
            return values
    return {}
