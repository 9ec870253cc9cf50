"""MNIST digit recognition: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('mnist_5k', 'data set', choices=('mnist_5k', 'mnist')),
    'source': field('resident', 'resident: images stay on the device; stream: read by index on host threads',
                    choices=('resident', 'stream')),
    'study': field('train', 'train: one network; ablation: batch norm and dropout, with and without; tuning: a search',
                   choices=('train', 'ablation', 'tuning')),
    'model': field('lenet', 'network', choices=('mlp', 'dnn', 'lenet', 'lenet_original')),
    'hidden': field((256, 256), 'widths of the hidden layers of the MLP', low=1),
    'width': field(256, 'units of each hidden layer of the DNN', low=1),
    'depth': field(4, 'hidden layers of the DNN, after the first', low=1, high=200),
    'residual': field(True, 'hidden layers of the DNN add to what they get'),
    'norm': field('batch', 'norm of each hidden layer of the DNN', choices=('none', 'batch', 'layer')),
    'dropout': field(0.2, 'share of hidden units dropped in training', low=0.0, high=0.9),
    'augment': field(True, 'random shifts, turns and scalings of the training images'),
    'rate': field(3e-3, 'peak learning rate (AdamW, linear warm-up, cosine decay)', low=0.0, high=10.0),
    'warmup': field(50, 'steps of warm-up', low=0),
    'weight_decay': field(1e-2, 'decoupled weight decay', low=0.0),
    'smoothing': field(0.05, 'label smoothing', low=0.0, high=0.9),
    'ema': field(0.99, 'decay of the averaged parameters that are evaluated', low=0.0, high=0.99999),
    'accum': field(1, 'micro-batches per step', low=1),
    'baseline_rows': field(4000, 'training rows that the classical baselines see; 0: no baselines', low=0),
    'trials': field(64, 'tuning: how many configurations are tried', low=8, high=4096),
    'workers': field(8, 'tuning: trials that run side by side, in one program', low=1, high=256),
    'trial_steps': field(300, 'tuning: training steps of each trial, and of what is trained again at the end', low=2),
    'again': field(5, 'tuning: how many times the best configuration is trained again, and the untuned one', low=2),
}
VARIANTS = {
    'full': {'batch_size': 100, 'steps': 1000, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 120,
             'checkpoint_every': 200},
    'mlp': {'model': 'mlp', 'batch_size': 100, 'steps': 1200, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 120,
            'checkpoint_every': 200},
    'original': {'model': 'lenet_original', 'batch_size': 100, 'steps': 4000, 'steps_per_call': 40, 'log_every': 40,
                 'eval_every': 400, 'checkpoint_every': 400, 'rate': 1e-3, 'weight_decay': 0.0, 'smoothing': 0.0,
                 'ema': 0.995},
    'original_mnist': {'data': 'mnist', 'model': 'lenet_original', 'augment': False, 'batch_size': 100, 'steps': 6000,
                       'steps_per_call': 40, 'log_every': 40, 'eval_every': 400, 'checkpoint_every': 400, 'rate': 1e-3,
                       'warmup': 400, 'weight_decay': 0.0, 'smoothing': 0.0, 'ema': 0.995},
    'full_mnist': {'data': 'mnist', 'batch_size': 128, 'steps': 3600, 'steps_per_call': 60, 'log_every': 60,
                   'eval_every': 600, 'checkpoint_every': 600, 'ema': 0.995},
    'dnn': {'model': 'dnn', 'batch_size': 100, 'steps': 1200, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 120,
            'checkpoint_every': 200},
    'ablation': {'study': 'ablation', 'model': 'dnn', 'width': 128, 'depth': 2, 'residual': False, 'dropout': 0.3,
                 'augment': False, 'weight_decay': 0.0, 'smoothing': 0.0, 'rate': 1e-3, 'ema': 0.0, 'batch_size': 100,
                 'steps': 800, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 80, 'checkpoint_every': 200},
    'tuning': {'study': 'tuning', 'model': 'dnn', 'width': 128, 'depth': 2, 'residual': False, 'augment': False,
               'smoothing': 0.0, 'ema': 0.0, 'batch_size': 100, 'warmup': 30, 'trials': 48,
               'trial_steps': 240, 'steps': 6, 'steps_per_call': 1, 'log_every': 1, 'eval_every': 6,
               'checkpoint_every': 1},
    'ablation_smoke': {'study': 'ablation', 'model': 'dnn', 'width': 16, 'depth': 1, 'residual': False, 'dropout': 0.3,
                       'augment': False, 'ema': 0.0, 'batch_size': 40, 'steps': 20, 'steps_per_call': 5, 'log_every': 5,
                       'eval_every': 10, 'checkpoint_every': 10, 'warmup': 5, 'baseline_rows': 200},
    'tuning_smoke': {'study': 'tuning', 'model': 'mlp', 'hidden': (16,), 'augment': False, 'smoothing': 0.0,
                     'batch_size': 20, 'steps': 4, 'steps_per_call': 1, 'log_every': 1, 'eval_every': 4,
                     'checkpoint_every': 1, 'warmup': 3, 'trials': 16, 'workers': 4, 'trial_steps': 12, 'again': 2,
                     'baseline_rows': 200},
    'smoke': {'batch_size': 40, 'steps': 20, 'steps_per_call': 5, 'log_every': 5, 'eval_every': 10,
              'checkpoint_every': 10, 'warmup': 5, 'baseline_rows': 200},
}
HARMLESS = ()
STUDIES = {        # what the two studies reach
    'ablation': {'accuracy_both': (0.93, '>='), 'loss_cut_both': (0.01, '>=')},
    'tuning': {'accuracy': (0.935, '>='), 'gain': (-0.006, '>='), 'valid_loss': (0.19, '<=')},
}


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    steps = 'trial_steps' if config.study == 'tuning' else 'steps'
    if config.warmup >= config[steps]:
        raise ValueError(f'warmup={config.warmup}: expected fewer than {steps}={config[steps]}')
    if config.batch_size % config.accum:
        raise ValueError(f'batch_size={config.batch_size}: expected a multiple of accum={config.accum}')
    fit = {'ablation': ('dnn',), 'tuning': ('mlp', 'dnn')}.get(config.study)
    if fit and config.model not in fit:
        raise ValueError(f'model={config.model}: expected {" or ".join(fit)} for study={config.study}')
    if config.study == 'ablation' and (config.norm == 'none' or not config.dropout):
        raise ValueError(f'norm={config.norm}, dropout={config.dropout}: expected both, to be taken away')
    rounds = -(-config.trials // config.workers)
    if config.study == 'tuning' and config.steps != rounds:
        raise ValueError(f'steps={config.steps}: expected {rounds}, the rounds of {config.trials} trials by '
                         f'{config.workers} workers')


def _whole(config, size: str) -> bool:
    full = get_config(size)
    return all(config[k] == full[k] for k in full if k not in ('seed', 'baseline_rows'))


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of this recipe reaches; none for shorter or changed ones."""
    if config.study != 'train':
        return dict(STUDIES[config.study]) if _whole(config, config.study) else {}
    recipes = {('mnist_5k', 'lenet'): ('full', 0.97), ('mnist_5k', 'mlp'): ('mlp', 0.96),
               ('mnist_5k', 'lenet_original'): ('original', 0.95), ('mnist', 'lenet'): ('full_mnist', 0.99),
               ('mnist_5k', 'dnn'): ('dnn', 0.965), ('mnist', 'lenet_original'): ('original_mnist', 0.975)}
    size, value = recipes.get((config.data, config.model), (None, 0))
    if size is None or config.steps < get_config(size).steps or (size in ('dnn', 'original_mnist') and not _whole(
            config, size)):
        return {}
    return {'accuracy': (value, '>=')}
