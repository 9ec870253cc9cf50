"""A small GPT as a language model of one book: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('king_james', 'the book', choices=('king_james', 'tiny_shakespeare')),
    'tokenizer': field('char', 'what a token is: a character, or what byte-pair encoding finds',
                       choices=('char', 'bpe')),
    'vocab': field(512, 'tokens of byte-pair encoding', low=256, high=65536),
    'context': field(64, 'tokens that the model sees', low=2, high=65536),
    'layers': field(4, 'blocks', low=1, high=1000),
    'heads': field(4, 'heads of attention', low=1, high=1000),
    'width': field(128, 'width of the stream', low=2),
    'dropout': field(0.0, 'share dropped in training', low=0.0, high=0.9),
    'bias': field(False, 'biases in projections and LayerNorm'),
    'norm': field('layer_norm', 'normalisation', choices=('layer_norm', 'rms_norm')),
    'activation': field('gelu_tanh', 'of the feed-forward layers', choices=('gelu_tanh', 'relu2')),
    'positions': field('learned', 'positions', choices=('learned', 'rope')),
    'qk_norm': field(False, 'normalise queries and keys'),
    'optimizer': field('adamw', 'muon: on the matrices of the blocks; AdamW on the rest', choices=('adamw', 'muon')),
    'rate': field(3e-3, 'peak learning rate of AdamW', low=0.0, high=10.0),
    'muon_rate': field(0.02, 'peak learning rate of Muon', low=0.0, high=10.0),
    'muon_steps': field(5, 'Newton-Schulz iterations of Muon', low=1, high=20),
    'final': field(0.1, 'learning rate at the end, as a share of the peak', low=0.0, high=1.0),
    'schedule': field('cosine', 'how the learning rate falls after the warm-up', choices=('cosine', 'linear')),
    'warmup': field(100, 'steps of warm-up', low=0),
    'beta2': field(0.99, 'decay of the second moment', low=0.0, high=0.99999),
    'weight_decay': field(0.1, 'decoupled weight decay of matrices', low=0.0),
    'clip': field(1.0, 'norm that gradients are clipped to', low=1e-6),
    'ema': field(0.0, 'decay of the averaged parameters that are evaluated; 0: evaluate the last ones', low=0.0,
                 high=0.99999),
    'ngram': field(5, 'order of the counting baseline; 0: no baselines', low=0, high=8),
    'sample_every': field(500, 'steps between samples; 0: none', low=0),
    'sample_tokens': field(400, 'tokens of each sample', low=1),
    'temperature': field(0.8, 'of the samples', low=0.0, high=10.0),
    'top_k': field(0, 'of the samples; 0: all tokens', low=0),
    'top_p': field(0.95, 'of the samples', low=0.0, high=1.0),
}
_EVENTS = {'steps_per_call': 50, 'log_every': 50, 'eval_every': 500, 'checkpoint_every': 500}
_BETTER = {'norm': 'rms_norm', 'activation': 'relu2', 'positions': 'rope', 'qk_norm': True, 'optimizer': 'muon',
           'schedule': 'linear', 'final': 0.0}
VARIANTS = {
    'full': {'steps': 1400, 'batch_size': 12, **_EVENTS, **_BETTER},
    # the shape and the number of steps that nanoGPT's README gives for a CPU; its learning rate is 1e-3
    'shakespeare': {'data': 'tiny_shakespeare', 'steps': 2000, 'batch_size': 12, **_EVENTS},
    # a better recipe in the same shape, in the same CPU time: a step with Muon costs 1.4 times as much
    'better': {'data': 'tiny_shakespeare', 'steps': 1400, 'batch_size': 12, **_EVENTS, **_BETTER},
    'smoke': {'steps': 20, 'batch_size': 8, 'steps_per_call': 5, 'log_every': 5, 'eval_every': 20,
              'checkpoint_every': 10, 'sample_every': 10, 'sample_tokens': 24, 'context': 16, 'layers': 2, 'heads': 2,
              'width': 16, 'warmup': 5, 'dropout': 0.1, 'ngram': 3},
}
HARMLESS = ()
_FREE = ('seed', 'log_every', 'eval_every', 'checkpoint_every', 'ngram', 'sample_every', 'sample_tokens', 'temperature',
         'top_k', 'top_p')       # what leaves the loss of a recipe as it is


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.warmup >= config.steps:
        raise ValueError(f'warmup={config.warmup}: expected fewer than steps={config.steps}')
    if config.width % config.heads:
        raise ValueError(f'width={config.width}: expected a multiple of heads={config.heads}')
    if config.positions == 'rope' and config.width // config.heads % 2:
        raise ValueError(f'width={config.width}: rope needs an even width per head, heads={config.heads}')
    if config.sample_every % config.steps_per_call:
        raise ValueError(f'sample_every={config.sample_every}: expected a multiple of '
                         f'steps_per_call={config.steps_per_call}')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of a whole recipe reaches on the validation text; none for shorter or changed ones."""
    for size, goal in (('full', {'bits_per_char': (1.8, '<=')}), ('shakespeare', {'loss': (1.85, '<=')}),
                       ('better', {'loss': (1.70, '<=')})):
        recipe = get_config(size)
        if all(config[name] == recipe[name] for name in recipe if name not in _FREE):
            return goal
    return {}
