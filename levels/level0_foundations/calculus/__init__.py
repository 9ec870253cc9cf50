"""Calculus, written out: derivatives four ways, of any pytree, along chains, in parts, and of what is only implied.

| file | what |
| --- | --- |
| `derivative.py`, `functions.py` | forward, reverse, central difference, complex step; 30 functions, 8 kinks |
| `gradients.py` | gradient, JVP, VJP, HVP, Jacobian, Hessian of pytrees |
| `tape.py` | reverse mode from nothing but NumPy, of any order |
| `chain.py` | the chain rule as a product of Jacobians; two rules of one's own |
| `partial.py` | partial and total derivatives |
| `implicit.py` | fixed points, their derivatives, and bounds of both errors |
"""
