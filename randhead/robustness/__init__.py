"""Accuracy under image corruptions: the grid, its accumulator, its metrics, released sets."""
