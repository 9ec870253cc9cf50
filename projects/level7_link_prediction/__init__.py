"""Graph link prediction: which modules import each other, which papers cite each other."""
