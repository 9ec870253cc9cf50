"""A mini-ResNet, block by block: plain against residual networks of 8, 20 and 44 layers.

    python -m projects.level3_mini_resnet.main --workdir=runs/resnet --seeds=3
    python -m projects.level3_mini_resnet.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level3_mini_resnet')
