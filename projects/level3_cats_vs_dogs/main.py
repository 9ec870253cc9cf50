"""Cats against dogs: transfer learning against training from scratch, over the number of pictures.

    python -m projects.level3_cats_vs_dogs.main --workdir=runs/cats_vs_dogs --seeds=5
    python -m projects.level3_cats_vs_dogs.main --workdir=runs/turns --config.pretext=turns --seeds=5
    python -m projects.level3_cats_vs_dogs.main --workdir=runs/photographs --config=photographs --data_dir=DATA
    python -m projects.level3_cats_vs_dogs.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level3_cats_vs_dogs')
