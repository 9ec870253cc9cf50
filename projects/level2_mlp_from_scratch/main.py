"""An MLP from scratch: digits learned with gradients that were worked out by hand.

    python -m projects.level2_mlp_from_scratch.main --workdir=runs/scratch --seeds=5
    python -m projects.level2_mlp_from_scratch.main --workdir=runs/plain --config=plain --seeds=5
    python -m projects.level2_mlp_from_scratch.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level2_mlp_from_scratch')
