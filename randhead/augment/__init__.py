"""Augmentation of training images: random crops (`crop`), strong views (`views`), squares left out (`cutout`)."""
