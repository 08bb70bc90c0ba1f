"""The 1.5x decoder, from random weights: 192 channels at full resolution and four residual blocks per level.

    python train.py --config large --data.source folder:/path/to/imagenet/train

The numbers are those of the released training code for 8 GPUs with 4 pictures each: 432,072 steps, 12 epochs. (The paper
itself speaks of 64 GPUs with 5 pictures each and a peak rate of 7.2e-4; `--data.batch-size 320 --critic.norm-images 5
--optim.learning-rate 7.2e-4 --optim.steps 120000` comes near that.) Published on 2,968 ImageNet pictures: FID 7.55,
LPIPS 0.136, pre_error 2.6e-5 (the repository's README).
"""

from asym_jax.config import CriticConfig, DataConfig, ModelConfig, OptimConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig(channels=(192, 384, 768, 768), layers_per_block=3, init="random"),
    critic=CriticConfig(norm_images=4),
    optim=OptimConfig(steps=432_072, learning_rate=1.44e-4, groups=((".*", 1.0),)),
    data=DataConfig(batch_size=32),
)
