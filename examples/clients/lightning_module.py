"""Lightning: the head in a LightningModule; validation before training, a checkpoint, and resuming from it."""

import tempfile

import lightning
import torch
from digits import accuracy, encoder, pixels, test, train
from torch.utils.data import DataLoader

from randhead import ClassVectorHead


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = encoder(), ClassVectorHead(10, 32, scoring="cosine")

    def training_step(self, batch, index):
        return self.head.loss(self.encoder(batch[0]), batch[1], label_smoothing=0.1)

    def validation_step(self, batch, index):
        self.log("nll", self.head.loss(self.encoder(batch[0]), batch[1]))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), 3e-3)


def fit(folder, **resume):
    lightning.seed_everything(0)
    keep = lightning.pytorch.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    model = Digits()
    trainer = lightning.Trainer(max_epochs=6, accelerator="cpu", logger=False, callbacks=[keep])
    trainer.validate(model, DataLoader(test, 297))
    trainer.fit(model, DataLoader(train, 50), DataLoader(test, 297), **resume)
    return torch.nn.Sequential(model.encoder, model.head)


with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
    whole, resumed = fit(a), fit(b, ckpt_path=f"{a}/epoch=2.ckpt")
print("resumed equal:", torch.equal(resumed(pixels), whole(pixels)))
print("accuracy:", accuracy(whole))
