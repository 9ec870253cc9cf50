"""The tools of the roadmap as lessons: exercises that check themselves, for Python to Git; told in `docs/notebooks`."""
