"""Titanic survival classification: seven classifiers, chosen and compared by nested cross-validation."""
