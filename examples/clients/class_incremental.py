"""Class-incremental learning with replay, as in PyCIL and mammoth: the head grows before each session."""

import copy

import torch
from digits import NAMES, accuracy, encoder, labels, pixels

from randhead import ClassVectorHead

torch.manual_seed(0)
backbone, head = encoder(), ClassVectorHead(4, 32, scoring="cosine", scale=16, class_names=NAMES[:4])
memory = torch.zeros(0, dtype=torch.int64)
for session in (range(4), range(4, 7), range(7, 10)):
    if session.start:
        before = copy.deepcopy(head)
        head.grow([NAMES[digit] for digit in session])
        print("old vectors equal:", torch.equal(head.weight[: before.out_features], before.weight))
    new = torch.isin(labels[:1500], torch.tensor(session)).nonzero()[:, 0]
    rows = torch.cat([new, *[memory] * 4])  # the few images that are kept count more
    optimizer = torch.optim.AdamW(backbone.parameters(), 3e-3)
    for batch in torch.cat([rows[torch.randperm(len(rows))] for _ in range(6)]).split(50):
        loss = head.loss(backbone(pixels[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    memory = torch.cat([memory, *[new[labels[new] == digit][:20] for digit in session]])

at_once = ClassVectorHead(10, 32, scoring="cosine", scale=16, class_names=NAMES)
at_once.load_state_dict(before.state_dict())  # that of a head whose classes it has, and more
print("equal to a head of all classes:", torch.equal(head.weight, at_once.weight))
print("accuracy:", accuracy(torch.nn.Sequential(backbone, head)))
