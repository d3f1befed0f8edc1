"""Federated averaging as flwr does it: whole state_dicts travel, and all clients have the same class vectors."""

import copy

import torch
from digits import NAMES, accuracy, encoder, train
from flwr.app import ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords

from randhead import ClassVectorHead

inputs, targets = train.tensors


def fit(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for batch in rows[torch.randperm(len(rows))].split(20):
        optimizer.zero_grad()
        model[1].loss(model[0](inputs[batch]), targets[batch]).backward()
        optimizer.step()


def reply(model, count):
    return RecordDict({"model": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"images": count})})


torch.manual_seed(0)
server = torch.nn.Sequential(encoder(), ClassVectorHead(10, 32, scoring="cosine", class_names=NAMES))
parts = targets.argsort().split([150, 250, 300, 350, 450])  # each client has images of two or three digits
for _ in range(40):
    clients = [copy.deepcopy(server) for _ in parts]
    for client, rows in zip(clients, parts, strict=True):
        fit(client, rows)
    replies = [reply(client, len(rows)) for client, rows in zip(clients, parts, strict=True)]
    server.load_state_dict(aggregate_arrayrecords(replies, "images").to_torch_state_dict())
by_hand = sum(client[0][0].weight * len(rows) for client, rows in zip(clients, parts, strict=True)) / 1500
print("averaged equal:", torch.allclose(server[0][0].weight, by_hand, atol=1e-6))
print("accuracy:", accuracy(server))
