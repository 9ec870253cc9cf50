"""Spam detection: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

MODELS = ('bernoulli', 'multinomial', 'complement', 'logistic_counts', 'logistic_tfidf', 'svm_counts', 'svm_tfidf')
FIELDS = {
    'seed': TRAINING['seed'],
    'data': field('sms_spam_4k', 'data set', choices=('sms_spam_4k', 'sms_spam')),
    'models': field(MODELS, 'which models are compared', choices=MODELS),
    'messages': field(0, 'learn from so many of the messages; 0: from all', low=0),
    'words': field(1000, 'how many words a model sees: the most frequent ones of what it learns from', low=10,
                   high=20_000),
    'folds': field(5, 'folds that measure', low=2, high=50),
    'inner_folds': field(2, 'folds within each of them that choose the hyperparameter', low=2, high=50),
}
VARIANTS = {
    'full': {},
    'original': {'data': 'sms_spam'},
    'smoke': {'models': ('multinomial', 'logistic_tfidf', 'svm_tfidf'), 'messages': 1000, 'words': 100,
              'folds': 3},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    """ValueError for no model, or one that is there twice."""
    if not config.models or len(set(config.models)) < len(config.models):
        raise ValueError(f'models={tuple(config.models)}: expected one or more, each once')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of a recipe reaches; `gain` is F1 of spam above that of the keyword rule."""
    full = {'cv_f1_bernoulli': 0.93, 'cv_f1_multinomial': 0.92, 'cv_f1_complement': 0.86, 'cv_f1_logistic_counts': 0.91,
            'cv_f1_logistic_tfidf': 0.905, 'cv_f1_svm_counts': 0.905, 'cv_f1_svm_tfidf': 0.91, 'cv_ap_bernoulli': 0.96,
            'cv_ap_svm_tfidf': 0.955, 'gain_bernoulli': 0.065, 'gain_multinomial': 0.06, 'gain_logistic_tfidf': 0.045,
            'gain_svm_tfidf': 0.045}
    original = {'cv_f1_bernoulli': 0.92, 'cv_f1_multinomial': 0.91, 'cv_f1_complement': 0.86,
                'cv_f1_logistic_tfidf': 0.905, 'cv_f1_svm_tfidf': 0.91, 'gain_bernoulli': 0.07,
                'gain_logistic_tfidf': 0.05, 'gain_svm_tfidf': 0.06}
    for size, values in (('full', full), ('original', original)):
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k != 'seed'):
            return {name: (value, '>=') for name, value in values.items()}
    return {}
