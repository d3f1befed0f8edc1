"""CUDA."""

AVAILABLE = False
