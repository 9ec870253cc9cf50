"""Optimisation: line searches, Newton and L-BFGS, rates on quadratics, convexity, landscapes and their basins."""
