"""The paper's base model: Stable Diffusion's own decoder with a condition encoder, 256-pixel crops.

    python train.py --config base --data.source folder:/path/to/imagenet/train

The numbers are those of the released training code for 8 GPUs with 10 pictures each: 172,824 steps (12 epochs of
1,152,196 pictures), five days on 8 V100. Published on 2,968 ImageNet pictures: FID 7.60, LPIPS 0.137, pre_error
5.7e-5, against 9.57, 0.255 and 1082.8e-5 of the plain decoder (the repository's README).
"""

from asym_jax.config import TrainConfig

config = TrainConfig()  # the defaults are this model
