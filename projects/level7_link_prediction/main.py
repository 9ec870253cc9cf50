"""Link prediction with a graph auto-encoder, on the imports between installed modules or on Cora's citations.

    python -m projects.level7_link_prediction.main --workdir=runs/links --seeds=5
    python -m projects.level7_link_prediction.main --workdir=runs/dot --config=dot --seeds=5
    python -m projects.level7_link_prediction.main --workdir=runs/cora --config=cora --seeds=5 --data_dir=DATA
    python -m projects.level7_link_prediction.main --workdir=runs/try --config=smoke --strategy=mesh --host_devices=2
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level7_link_prediction')
