"""Pneumonia on chest radiographs: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('synthetic_chest', 'data set; the default is made by a program and shows no patient',
                  choices=('synthetic_chest', 'pneumoniamnist')),
    'patients': field(1600, 'synthetic patients, each with one to four pictures', low=40, high=100_000),
    'split': field('patient', 'what stays together: all pictures of a patient, or nothing, which leaks',
                   choices=('patient', 'image')),
    'widths': field((16, 32, 64), 'channels of the convolutions', low=1, high=4096),
    'dropout': field(0.3, 'share of pooled features dropped in training', low=0.0, high=0.9),
    'augment': field(True, 'random shifts, turns, scalings, mirrorings and exposures of the training pictures'),
    'balance': field(True, 'both classes count alike in the loss'),
    'rate': field(3e-3, 'peak learning rate (AdamW, linear warm-up, cosine decay)', low=0.0, high=10.0),
    'warmup': field(50, 'steps of warm-up', low=0),
    'weight_decay': field(1e-2, 'decoupled weight decay', low=0.0, high=1000.0),
    'ema': field(0.99, 'decay of the averaged network that is evaluated', low=0.0, high=0.99999),
    'specificity': field(0.9, 'specificity at which sensitivity is measured', low=0.5, high=0.999),
    'bins': field(10, 'bins of the reliability diagram', low=2, high=100),
}
VARIANTS = {
    'full': {'batch_size': 64, 'steps': 1000, 'steps_per_call': 50, 'log_every': 50, 'eval_every': 200,
             'checkpoint_every': 250},
    'pneumoniamnist': {'data': 'pneumoniamnist', 'batch_size': 64, 'steps': 1500, 'steps_per_call': 50,
                       'log_every': 50, 'eval_every': 250, 'checkpoint_every': 500},
    'smoke': {'patients': 80, 'widths': (4, 8), 'batch_size': 16, 'steps': 20, 'steps_per_call': 5, 'log_every': 5,
              'eval_every': 10, 'checkpoint_every': 10, 'warmup': 5},
}
HARMLESS = ()       # fields whose change does not stop a resume


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.warmup >= config.steps:
        raise ValueError(f'warmup={config.warmup}: expected fewer than steps={config.steps}')
    if config.data != 'synthetic_chest' and config.split != 'patient':
        raise ValueError(f'split={config.split}: expected patient: {config.data} has parts of its own')


def expected(config) -> dict[str, tuple[float, str]]:
    """Test values that every correct run of a whole recipe reaches; none for shorter or changed ones.

    Sensitivity and specificity are both bounded: a threshold that calls everybody sick passes one, never both. Seen in
    three seeds: of the synthetic pictures 0.86 to 0.90 specific, of PneumoniaMNIST 0.55 to 0.60, though the threshold
    was 0.9 specific on the validation rows (see README.md).
    """
    reached = {'full': {'accuracy': (0.78, '>='), 'auroc': (0.80, '>='), 'sensitivity': (0.60, '>='),
                        'specificity': (0.82, '>='), 'ece_scaled': (0.12, '<='), 'pointing_occlusion': (0.15, '>=')},
               'pneumoniamnist': {'accuracy': (0.85, '>='), 'auroc': (0.94, '>='), 'sensitivity': (0.95, '>='),
                                  'specificity': (0.50, '>=')}}
    for size, values in reached.items():
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k != 'seed'):
            return values
    return {}
