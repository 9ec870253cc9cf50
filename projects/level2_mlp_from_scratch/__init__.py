"""An MLP from scratch: digits learned with gradients that were worked out by hand."""
