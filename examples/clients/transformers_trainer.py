"""transformers: the head in a PreTrainedModel; the Trainer, save_pretrained and from_pretrained, and other classes."""

import tempfile

from digits import NAMES, accuracy, encoder, pixels, train
from transformers import PretrainedConfig, PreTrainedModel, Trainer, TrainingArguments

from randhead import ClassVectorHead
from randhead.errors import RunError


class Digits(PreTrainedModel):
    config_class = PretrainedConfig

    def __init__(self, config):
        super().__init__(config)
        self.encoder = encoder()
        self.head = ClassVectorHead(len(config.names), 32, scoring="cosine", class_names=config.names)
        self.post_init()

    def forward(self, pixels, labels=None):
        features = self.encoder(pixels)
        loss = {} if labels is None else {"loss": self.head.loss(features, labels)}
        return {**loss, "logits": self.head(features)}


with tempfile.TemporaryDirectory() as folder:
    model = Digits(PretrainedConfig(names=NAMES))
    settings = {"num_train_epochs": 4, "per_device_train_batch_size": 50, "learning_rate": 5e-3, "use_cpu": True}
    rows = [{"pixels": inputs, "labels": target} for inputs, target in train]
    Trainer(model, TrainingArguments(folder, **settings), train_dataset=rows).train()
    model.save_pretrained(folder)
    again = Digits.from_pretrained(folder)
    print("loaded equal:", again(pixels)["logits"].equal(model(pixels)["logits"]))
    try:
        Digits.from_pretrained(folder, config=PretrainedConfig(names=[*NAMES[:-1], "dog"]))(pixels)
    except RunError as error:
        print("other names refused:", error)
print("accuracy:", accuracy(lambda inputs: model(inputs)["logits"]))
