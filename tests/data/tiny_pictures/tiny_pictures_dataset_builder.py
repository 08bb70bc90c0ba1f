"""A data set of TensorFlow Datasets small enough to be prepared, without TensorFlow, by a test."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

COUNTS = {"train": 6, "test": 3}


def encoded(split: str, index: int) -> bytes:
    """A JPEG whose pixels follow from split and index."""
    rng = np.random.default_rng([len(split), index])
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (12, 10 + index, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pictures with labels."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"label": tfds.features.Scalar(dtype=np.int64), "image": tfds.features.Image(encoding_format="jpeg")}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, manager):
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split):
        for index in range(COUNTS[split]):
            yield index, {"label": index, "image": io.BytesIO(encoded(split, index))}
