"""pytorch-metric-learning: the head as a loss for its trainers, samplers and miners, and beside the library's own."""

import torch
from digits import accuracy, encoder, train
from pytorch_metric_learning import losses, miners, samplers, trainers
from pytorch_metric_learning.losses.base_metric_loss_function import BaseMetricLossFunction
from pytorch_metric_learning.utils.loss_and_miner_utils import convert_to_weights

from randhead import ClassVectorHead
from randhead.losses import cosface


class HeadLoss(BaseMetricLossFunction):
    def __init__(self, head, margin=None):
        super().__init__()
        self.head, self.margin = head, margin

    def compute_loss(self, embeddings, labels, indices_tuple, ref_emb, ref_labels):
        each = self.head.loss(embeddings, labels, reduction="none", margin=self.margin)
        each = each * convert_to_weights(indices_tuple, labels, dtype=each.dtype)
        return {"loss": {"losses": each, "indices": torch.arange(len(each)), "reduction_type": "element"}}


torch.manual_seed(0)
head = ClassVectorHead(10, 32, scoring="cosine", scale=16)
ours = HeadLoss(head, lambda cosines: cosface(cosines, margin=0.35))
theirs = losses.CosFaceLoss(10, 32, margin=0.35, scale=16)
theirs.W.data.copy_(head.class_vectors().T)
features, targets = torch.randn(64, 32), torch.arange(64) % 10
print("equal to CosFaceLoss:", torch.allclose(ours(features, targets), theirs(features, targets), rtol=1e-5))

trunk = encoder()
optimizers = {"trunk_optimizer": torch.optim.Adam(trunk.parameters(), 3e-3)}
sampler = samplers.MPerClassSampler(train.tensors[1], m=5, length_before_new_iter=1500)
trainer = trainers.MetricLossOnly(
    {"trunk": trunk}, optimizers, 50, {"metric_loss": ours}, train, sampler=sampler, dataloader_num_workers=0,
    mining_funcs={"tuple_miner": miners.AngularMiner(20)},
)  # fmt: skip
trainer.train(num_epochs=3)
print("accuracy:", accuracy(lambda inputs: head(trunk(inputs))))
