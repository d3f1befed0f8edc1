"""Augmentation of training images: random crops (`crop`) and strong views (`views`)."""
