"""Command-line tools of the repository; run each as `python -m tools.<name>`."""
