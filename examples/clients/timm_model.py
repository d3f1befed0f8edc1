"""timm: the head as the classifier of a model, with its optimisers, averaged weights, checkpoints and resuming."""

import tempfile

import timm
import torch
from digits import accuracy, labels, pixels
from timm.models import load_checkpoint, resume_checkpoint
from timm.optim import create_optimizer_v2
from timm.utils import CheckpointSaver, ModelEmaV3

from randhead import ClassVectorHead


def build():
    model = timm.create_model("test_resnet", in_chans=1, num_classes=10)
    model.fc = ClassVectorHead(10, model.num_features, scoring="cosine")
    return torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8, 8)), torch.nn.Upsample(size=32), model)


torch.manual_seed(0)
model = build()
optimizer, average = create_optimizer_v2(model, "adamw", lr=1e-2, weight_decay=0.05), ModelEmaV3(model, decay=0.9)
for batch in torch.cat([torch.randperm(1500) for _ in range(3)]).split(50):
    loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average.update(model)

with tempfile.TemporaryDirectory() as folder:
    CheckpointSaver(model, optimizer, model_ema=average, checkpoint_dir=folder).save_checkpoint(epoch=0)
    again = build()
    resume_checkpoint(again, f"{folder}/last.pth.tar", create_optimizer_v2(again, "adamw", weight_decay=0.05))
    print("resumed equal:", torch.equal(again.eval()(pixels), model.eval()(pixels)))
    load_checkpoint(again, f"{folder}/last.pth.tar", use_ema=True)
print("average equal:", torch.equal(again(pixels), average.module.eval()(pixels)))
print("accuracy:", accuracy(average.module))
