"""House price prediction with ten regressors, from least squares to gradient boosting.

    python -m projects.level1_house_prices.main --workdir=runs/houses --seeds=5
    python -m projects.level1_house_prices.main --workdir=runs/california --config=california --data_dir=DATA
    python -m projects.level1_house_prices.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level1_house_prices')
