"""House price prediction: ten regressors, chosen and compared by nested cross-validation."""
