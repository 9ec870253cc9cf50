"""Linear regression: ordinary least squares, ridge, lasso and the elastic net."""
