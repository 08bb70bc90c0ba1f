"""Minutes on a laptop's CPU, nothing to download: a small decoder learns to keep what its autoencoder blurs.

python train.py --config demo
python train.py --config demo --data.source folder:/path/to/pictures --data.held-out 100
"""

from asym_jax.config import CheckpointConfig, CriticConfig, DataConfig, LogConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig

config = TrainConfig(
    model=ModelConfig(vae="asset", channels=(16, 32, 64, 64), layers_per_block=1, norm_groups=8),
    critic=CriticConfig(channels=16, layers=2, norm_images=8),
    # Without LPIPS, which needs VGG16, little holds the critic in check: it gets an eighth of the published weight.
    loss=LossConfig(perceptual=0.0, adversarial=0.1, critic_start=700, adversarial_start=750),
    optim=OptimConfig(
        steps=1000,
        learning_rate=5e-3,
        warmup_steps=50,
        # What a kept pixel passes through learns fast; the decoder that came with the autoencoder slowly (docs/training.md).
        groups=(("^(condition_encoder|conv_norm_out|conv_out)", 1.0), (".*", 0.05)),
        ema_decay=0.99,
    ),
    data=DataConfig(source="synthetic", image_size=64, batch_size=8, held_out=64),
    checkpoint=CheckpointConfig(every=250),
    log=LogConfig(every=50, evaluate_every=250),
)
