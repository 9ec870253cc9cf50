"""The cases of the estimators of level 2."""
from estimator_case import LABELS, Case

CASES = {
    # the average has the most to get wrong: every visit counts in it
    'perceptron': Case({'keep': 'average', 'max_iter': 8}, {'rate': (0.5, 2.0)}, y=LABELS),
}
