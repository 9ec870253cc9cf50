"""PCA of MNIST: how many components, what they keep, what they are good for, and maps beside t-SNE's and UMAP's."""
