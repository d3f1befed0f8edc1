"""accelerate: mixed precision and accumulation, saved states, and a model that is built empty and then filled."""

import tempfile

import torch
from accelerate import Accelerator, init_empty_weights, load_checkpoint_and_dispatch
from digits import accuracy, encoder, pixels, train
from torch.utils.data import DataLoader

from randhead import ClassVectorHead


def build():
    return torch.nn.Sequential(encoder(), ClassVectorHead(10, 32, scoring="cosine", neck="linear"))


torch.manual_seed(0)
accelerator = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
model, loader = build(), DataLoader(train, 25, shuffle=True)
model, optimizer, loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), 5e-3), loader)
for inputs, targets in (batch for _ in range(4) for batch in loader):
    with accelerator.accumulate(model), accelerator.autocast():
        accelerator.backward(model[1].loss(model[0](inputs), targets))
        optimizer.step()
        optimizer.zero_grad()

with tempfile.TemporaryDirectory() as folder, torch.no_grad():
    logits = model(pixels)
    accelerator.save_state(f"{folder}/state")
    for parameter in model.parameters():
        parameter.zero_()
    accelerator.load_state(f"{folder}/state")
    print("restored equal:", torch.equal(model(pixels), logits))
    accelerator.save_model(model, f"{folder}/model")
    with init_empty_weights():
        empty = build()
    filled = load_checkpoint_and_dispatch(empty, f"{folder}/model", device_map={"": "cpu"})
    plain = accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    print("filled equal:", torch.equal(filled(pixels), plain(pixels)))
print("accuracy:", accuracy(model))
