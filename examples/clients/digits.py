"""What the examples of this folder share: the digits of scikit-learn, an encoder for them, and its accuracy."""

import torch
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
pixels, labels = (torch.from_numpy(part) for part in load_digits(return_X_y=True))
pixels = pixels.float() / 16  # (1797, 64) in [0, 1]
train, test = TensorDataset(pixels[:1500], labels[:1500]), TensorDataset(pixels[1500:], labels[1500:])


def encoder(width=32):
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, width))


@torch.no_grad()
def accuracy(model):
    inputs, targets = test.tensors
    return (model(inputs).argmax(dim=1) == targets).float().mean().item()
