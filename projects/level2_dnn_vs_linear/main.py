"""DNN regression against linear regression, on three tables.

    python -m projects.level2_dnn_vs_linear.main --workdir=runs/dnn_vs_linear --seeds=5
    python -m projects.level2_dnn_vs_linear.main --workdir=runs/census --config=california --data_dir=DATA
    python -m projects.level2_dnn_vs_linear.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level2_dnn_vs_linear')
