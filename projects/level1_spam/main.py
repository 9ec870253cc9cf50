"""Spam or not, by naive Bayes, logistic regression and linear support vector machines over words.

    python -m projects.level1_spam.main --workdir=runs/spam --seeds=5
    python -m projects.level1_spam.main --workdir=runs/spam_original --config=original --seeds=5 --data_dir=DATA
    python -m projects.level1_spam.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level1_spam')
