"""Pneumonia on chest radiographs; by default on synthetic ones.

    python -m projects.level3_pneumonia.main --workdir=runs/chest --seeds=5
    python -m projects.level3_pneumonia.main --workdir=runs/pneumonia --config=pneumoniamnist --data_dir=DATA --seeds=3
    python -m projects.level3_pneumonia.main --workdir=runs/leak --config.split=image --seeds=5
    python -m projects.level3_pneumonia.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level3_pneumonia')
