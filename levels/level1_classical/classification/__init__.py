"""Classification: labels from features."""
