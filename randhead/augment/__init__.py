"""Augmentation of training images: `crop`, and strong `views`."""
