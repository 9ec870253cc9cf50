"""DNN regression against linear regression: who wins where, by paired comparison over folds and seeds."""
