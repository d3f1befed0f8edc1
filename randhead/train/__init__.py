"""Training: the loop, its state, its tasks, its optimiser and its events."""
