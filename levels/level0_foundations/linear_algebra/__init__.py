"""Linear algebra, written out: vectors, factorisations, systems, products, maps, eigenvalues and singular values.

| file | what |
| --- | --- |
| `vectors.py` | norms, projections, Gram-Schmidt |
| `factor.py` | Householder QR, LU, Cholesky, substitution |
| `systems.py` | solve and least squares with condition numbers and error bounds; rank, matrix norms |
| `products.py`, `roofline.py` | three matrix products; what they cost, and how fast they are here |
| `transforms.py`, `grid.py` | affine maps, change of basis, determinants; a plane that moves |
| `iterations.py` | power, inverse and Rayleigh iteration |
| `symmetric.py`, `schur.py` | QR algorithms: eigenvalues of symmetric and of general matrices |
| `jacobi.py` | Jacobi rotations: eigenvalues, singular values |
| `spectral.py` | `eigh` and `svd` with derivatives; angles between subspaces |

Everything takes any number of leading batch axes, works under jit and vmap, and has its products in full precision.
"""
