"""Corruptions in data pipelines: in a Dataset with workers, and in webdataset; every image has its own noise."""

import tempfile

import torch
import webdataset
from digits import labels, pixels
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from randhead.corruptions import Corrupt, corrupt

images = (pixels.reshape(-1, 1, 8, 8) * 255).byte()[:200]
whole = corrupt(images, "gaussian_noise", severity=3)  # ids are 0 to 199
noise = Corrupt("gaussian_noise", severity=3)


class Noisy(Dataset):
    def __len__(self):
        return len(images)

    def __getitem__(self, index):
        return noise(images[index], id=index), labels[index]


if __name__ == "__main__":  # workers that are spawned import this file
    loaded = torch.cat([batch for batch, _ in DataLoader(Noisy(), 32, num_workers=2)])
    print("workers equal:", torch.equal(loaded, whole))

    with tempfile.TemporaryDirectory() as folder:
        with webdataset.TarWriter(f"{folder}/digits.tar") as sink:
            for index, image in enumerate(images):
                sample = {"png": Image.fromarray(image[0].numpy()), "cls": int(labels[index])}
                sink.write({"__key__": f"{index:06}", **sample})
        shards = (
            webdataset.WebDataset(f"{folder}/digits.tar", shardshuffle=False).decode("pill").to_tuple("__key__", "png")
        )
        rows = [v2.functional.pil_to_tensor(noise(image, id=int(key))) for key, image in shards]
    print("webdataset equal:", torch.equal(torch.stack(rows), whole))
    transform = v2.Compose([noise, v2.ToDtype(torch.float32, scale=True)])  # without an id, made from the pixels
    print("repeatable:", torch.equal(transform(images[0]), transform(images[0])))
