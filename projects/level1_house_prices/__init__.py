"""House price prediction: ordinary least squares, ridge and lasso, chosen and compared by nested cross-validation."""
