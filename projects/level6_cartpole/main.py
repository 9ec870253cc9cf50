"""CartPole balancing with PPO: environments, rollouts and updates in one program on the device.

    python -m projects.level6_cartpole.main --workdir=runs/cartpole --seeds=10
    python -m projects.level6_cartpole.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
    python -m projects.level6_cartpole.enjoy --workdir=runs/cartpole
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level6_cartpole')
