"""placeholder"""

from asym_jax.config import (
    CheckpointConfig,
    CriticConfig,
    DataConfig,
    LogConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)

config = TrainConfig(
    model=ModelConfig(vae="asset", channels=(16, 32, 64, 64), layers_per_block=1, norm_groups=8),
    critic=CriticConfig(channels=16, layers=2, norm_images=8),
    loss=LossConfig(perceptual=0.0, critic_start=700, adversarial_start=800),
    optim=OptimConfig(steps=1000, learning_rate=2e-3, warmup_steps=50, groups=((".*", 1.0),), ema_decay=0.99),
    data=DataConfig(source="synthetic", image_size=64, batch_size=16, held_out=64),
    checkpoint=CheckpointConfig(every=250),
    log=LogConfig(every=25, evaluate_every=250),
)
