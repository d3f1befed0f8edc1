"""torch.export and ONNX: an encoder with 20,000 fixed classes as one file that ONNX Runtime reads."""

import tempfile

import numpy as np
import onnxruntime
import torch
from digits import encoder, pixels

from randhead import ClassVectorHead

torch.manual_seed(0)
head = ClassVectorHead(20_000, 512, scoring="cosine").materialise()  # drawn now, and not while it is traced
model = torch.nn.Sequential(encoder(512), head).eval()
batch = {0: torch.export.Dim("batch")}

exported = torch.export.export(model, (pixels[:4],), dynamic_shapes=(batch,))
print("exported equal:", torch.equal(exported.module()(pixels[:9]), model(pixels[:9])))
with tempfile.TemporaryDirectory() as folder:
    torch.onnx.export(model, (pixels[:4],), f"{folder}/model.onnx", dynamo=True, dynamic_shapes=(batch,))
    session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
logits = session.run(None, {session.get_inputs()[0].name: pixels[:9].numpy()})[0]
print("runtime equal:", np.allclose(logits, model(pixels[:9]).detach().numpy(), atol=1e-4))
