"""Customer segmentation with k-means, ward, spectral clustering and mean shift.

    python -m projects.level1_customer_segments.main --workdir=runs/segments --seeds=5
    python -m projects.level1_customer_segments.main --workdir=runs/mine --config.data=transactions --data_dir=DATA
    python -m projects.level1_customer_segments.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level1_customer_segments')
