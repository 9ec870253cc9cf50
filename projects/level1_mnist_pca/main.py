"""Principal components of MNIST, and maps by PCA, t-SNE and UMAP.

    python -m projects.level1_mnist_pca.main --workdir=runs/pca --seeds=5
    python -m projects.level1_mnist_pca.main --workdir=runs/full --config=full_mnist --data_dir=DATA
    python -m projects.level1_mnist_pca.main --workdir=runs/try --config=smoke
"""
from common import launch

if __name__ == '__main__':
    launch.main('projects.level1_mnist_pca')
