"""MNIST digit recognition with an MLP or LeNet-5.

    python -m projects.level2_mnist.main --workdir=runs/mnist --seeds=5
    python -m projects.level2_mnist.main --workdir=runs/mlp --config=mlp --seeds=5
    python -m projects.level2_mnist.main --workdir=runs/1998 --config=original
    python -m projects.level2_mnist.main --workdir=runs/full --config=full_mnist --data_dir=DATA
    python -m projects.level2_mnist.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level2_mnist')
