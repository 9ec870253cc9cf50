"""Learning without labels: k-means."""
