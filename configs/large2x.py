"""The 2x decoder, from random weights: 256 channels at full resolution and six residual blocks per level.

    python train.py --config large2x --data.source folder:/path/to/imagenet/train

The numbers are those of the released training code for 8 GPUs with 2 pictures each: 864,144 steps, 12 epochs. Published
on 2,968 ImageNet pictures: FID 7.49, LPIPS 0.134, pre_error 2.1e-5 (the repository's README).
"""

from asym_jax.config import CriticConfig, DataConfig, ModelConfig, OptimConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig(channels=(256, 512, 1024, 1024), layers_per_block=5, init="random"),
    critic=CriticConfig(norm_images=2),
    optim=OptimConfig(steps=864_144, learning_rate=7.2e-5, groups=((".*", 1.0),)),
    data=DataConfig(batch_size=16),
)
