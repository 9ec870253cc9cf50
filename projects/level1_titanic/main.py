"""Who survived the Titanic, by seven classifiers and two rules of thumb.

    python -m projects.level1_titanic.main --workdir=runs/titanic --seeds=5
    python -m projects.level1_titanic.main --workdir=runs/titanic_891 --config=fares --seeds=5 --data_dir=DATA
    python -m projects.level1_titanic.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level1_titanic')
