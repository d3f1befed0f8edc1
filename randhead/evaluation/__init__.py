"""What a trained run is worth: classification metrics, features, analyses and comparisons of runs."""
