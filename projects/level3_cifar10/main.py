"""CIFAR-10, or patches of photographs, with a ResNet-9 in minutes; LeNet, ResNet-9 and MobileNet at equal time.

    python -m projects.level3_cifar10.main --workdir=runs/cifar --seeds=3
    python -m projects.level3_cifar10.main --workdir=runs/race --config=race
    python -m projects.level3_cifar10.main --workdir=runs/subset --config=subset --data_dir=DATA
    python -m projects.level3_cifar10.main --workdir=runs/full --config=cifar10 --data_dir=DATA
    python -m projects.level3_cifar10.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level3_cifar10')
