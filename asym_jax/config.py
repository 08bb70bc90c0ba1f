"""Every setting of a run, as frozen and checked values.

This is the lowest module of the package: it imports nothing from it. Modules above receive the one part they need
(`LossConfig`, `OptimConfig`, ...) and never the whole tree. The values in this file are those of the published base model
(arXiv 2306.04632 and its code); `configs/` holds the presets.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

NonNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]

SMALLEST_PICTURE = 16
"""Side in pixels below which LPIPS' last layer sees nothing (SSIM needs 11)."""


class Strict(BaseModel):
    """Immutable, hashable, and closed: an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, protected_namespaces=()
    )

    def __init__(self, **values: Any) -> None:
        """Raises ValueError that names every bad field in plain words."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError("; ".join(_in_words(detail) for detail in error.errors())) from None


def _in_words(detail: Any) -> str:
    """One of pydantic's findings as `field: what is wrong`."""
    place = ".".join(map(str, detail["loc"]))
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "value_error":
        return f"{place}: {message}" if place else message
    return f"{place}: {message} (got {detail['input']!r})"


class ModelConfig(Strict):
    """The frozen autoencoder, and the decoder that is trained for it."""

    vae: str = "stable-diffusion-v1-5/stable-diffusion-v1-5/vae"
    """The frozen autoencoder, with or without a codebook: a folder, file, URL or hub id (OWNER/NAME[/SUBFOLDER][@REVISION]); or
    `asset`, the small one shipped here."""
    channels: tuple[Annotated[int, Field(gt=0, le=2**14)], ...] = Field((128, 256, 512, 512), min_length=1, max_length=10)
    """Feature channels of the decoder per level, full resolution first."""
    layers_per_block: Annotated[int, Field(gt=0, le=16)] = 2
    """Residual blocks per level of the decoder, less one (the count that diffusers writes in config.json)."""
    norm_groups: PositiveInt = 32
    """Groups of each group normalisation in the decoder; must be those of the autoencoder, and divide all of `channels`."""
    blend: Literal["add", "concatenate"] = "add"
    """Mask-guided blending: the sum of both masked branches, or their concatenation through a 1x1 convolution."""
    init: str = "vae"
    """The decoder to start from: `vae` (its own, with a fresh condition encoder), `random`, or an asymmetric autoencoder to
    fine-tune: a folder, file, URL or hub id, official .ckpt files included."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute type of encoder, decoder and critic; parameters, normalisation statistics and losses stay float32."""
    remat: Literal["none", "norms", "blocks"] = "none"
    """What the backward pass computes again instead of keeping it: nothing, normalisations and activations, or residual blocks."""
    norm: Literal["xla", "triton"] = "xla"
    """Who writes group normalisation: the compiler, or, on one NVIDIA GPU, kernels of this package; they were never timed."""

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> "ModelConfig":
        bad = [c for c in self.channels if c % self.norm_groups]
        if bad or not self.channels:
            raise ValueError(f"channels {list(self.channels)} must be multiples of norm_groups={self.norm_groups}")
        return self


class CriticConfig(Strict):
    """The patch critic of the adversarial term."""

    channels: PositiveInt = 64
    """Channels of the first layer; each later layer doubles them, up to eightfold."""
    layers: PositiveInt = 3
    """Convolutions with stride 2; each halves the picture and about doubles the patch that one score looks at."""
    norm_images: PositiveInt = 10
    """Pictures that share batch-normalisation statistics; 10 is one GPU's batch in the reference. Must divide the batch."""


class LossConfig(Strict):
    """The terms of the loss, and when the critic joins in."""

    pixel: Literal["l1", "l2"] = "l1"
    """Pixel term: L1 as in the released code, or the squared L2 of the paper's equation 2."""
    perceptual: NonNegative = 1.0
    """Weight of LPIPS next to the pixel term. 0 needs no VGG16 weights."""
    perceptual_dtype: Literal["model", "float32", "exact"] = "float32"
    """Convolutions of the VGG16 inside this loss: in `model.dtype`; in float32, as the accelerator multiplies it by default (TF32
    on NVIDIA GPUs); or in exact float32, many times slower there. Held-out scores are always exact. bfloat16 turns the loss's
    gradient by 13 degrees, TF32 by 4 (docs/training.md), and VGG16 is only a twentieth of the work."""
    adversarial: NonNegative = 0.8
    """Factor on the adaptive weight of the adversarial term; 0 trains without a critic."""
    adaptive_max: Positive = 1e4
    """Upper bound of the adaptive weight, for losses summed over each picture."""
    critic_start: NonNegativeInt = 50_001
    """Updates before the critic begins to learn."""
    adversarial_start: NonNegativeInt = 50_001
    """Updates before the decoder feels the critic; never before `critic_start`."""
    adversarial_ramp: NonNegativeInt = 0
    """Updates from `adversarial_start` on over which the decoder's adversarial weight rises linearly from 0 to full; 0: at once."""

    @model_validator(mode="after")
    def _critic_learns_before_it_is_felt(self) -> "LossConfig":
        if self.adversarial_start < self.critic_start:
            raise ValueError(f"adversarial_start={self.adversarial_start} lies before critic_start={self.critic_start}")
        return self


class OptimConfig(Strict):
    """Adam and its schedules, for decoder and critic alike."""

    steps: PositiveInt = 172_824
    """Updates of the whole run."""
    learning_rate: Positive = 3.6e-4
    """Peak rate; `groups` multiplies it."""
    final_learning_rate: Positive = 1e-6
    """Absolute rate that every group ends at, whatever its multiplier."""
    warmup_steps: NonNegativeInt = 5_000
    """Linear rise from 1% of the peak."""
    groups: tuple[tuple[str, Positive], ...] = (("condition_encoder", 1.0), (".*", 0.1))
    """(regex, multiplier) on decoder parameter paths; the first match wins, and every rule must match something."""
    betas: tuple[Decay, Decay] = (0.5, 0.9)
    """Adam's decays of its running means of the gradient and of its square."""
    epsilon: Positive = 1e-8
    """Added to the root of that second mean before Adam divides by it."""
    ema_decay: Decay = 0.0
    """Decay of the averaged copy of the decoder; 0 keeps none."""
    accumulate: PositiveInt = 1
    """Parts that a batch is worked through in, one after another, for one update. Must divide the batch."""
    skip_limit: NonNegativeInt = 10
    """Updates in a row that may be skipped because a loss or gradient is not finite; one more stops the run. 0: at the first."""

    @model_validator(mode="after")
    def _schedule_is_possible(self) -> "OptimConfig":
        if self.warmup_steps >= self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} must be below steps={self.steps}")
        smallest = self.learning_rate * min((multiplier for _, multiplier in self.groups), default=1.0)
        if self.final_learning_rate > smallest:
            raise ValueError(f"final_learning_rate={self.final_learning_rate} exceeds a group's peak of {smallest:g}")
        for pattern, _ in self.groups:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"groups: {pattern!r} is not a regular expression ({error})") from error
        return self


class ShardingConfig(Strict):
    """What is split over devices. A run may go on with other values: they change where numbers lie, not what they are."""

    fsdp: PositiveInt = 1
    """Devices over which decoder, average, critic, optimisers and frozen networks are split; must divide the number of all."""
    rules: tuple[tuple[str, Literal["split", "copy"]], ...] = ((".*", "split"),)
    """(regex, split or copy) on paths like decoder/conv_in/kernel; the first match wins, and every rule must match something."""
    smallest: PositiveInt = 16_384
    """Arrays with fewer values stay whole on every device: to split them would cost a message each and save little."""

    @model_validator(mode="after")
    def _patterns_are_regular(self) -> "ShardingConfig":
        for pattern, _ in self.rules:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"rules: {pattern!r} is not a regular expression ({error})") from error
        return self


class DataConfig(Strict):
    """Pictures, crops and holes."""

    source: str = "synthetic"
    """`synthetic`; `folder:DIR`, or `folder:LIST.txt` with one path per line; `array_record:DIR`, as tools/pack_array_record.py
    writes it; `tfds:NAME_OR_DIR[/SPLIT]`; `parquet:PATH[#COLUMN]`; `huggingface:NAME_OR_DIR[#SPLIT]`; or a mixture of these,
    `mix:0.7*folder:A+0.3*folder:B`."""
    image_size: PositiveInt = 256
    """Side of the square training crops, in pixels."""
    batch_size: PositiveInt = 80
    """Pictures per update, over all devices."""
    crop_scale: tuple[Probability, Probability] = (0.5, 1.0)
    """Side of the random crop as a share of the shorter side of the picture."""
    mask: str = "thick_256"
    """Recipe of the random holes: thin_256, medium_256, thick_256, or these with _512; lengths scale with the image size."""
    full_mask_probability: Probability = 0.5
    """Share of pictures trained with everything masked."""
    held_out: NonNegativeInt = 64
    """Pictures at the end of the source that are never trained on but evaluated."""
    threads: PositiveInt = 8
    """Threads that read and decode pictures, of all workers together."""
    workers: NonNegativeInt = 0
    """Processes that read and decode; 0 uses threads of this one. The pictures are the same."""
    latent_cache: bool = False
    """Encode a few fixed crops of each picture once, before the first step, instead of a new crop in every step."""
    cached_crops: PositiveInt = 4
    """Fixed crops of each picture in the latent cache."""
    cache_folder: str = ""
    """Where the latent cache lies; empty: in the folder of the run. Runs that share one find each other's latents."""

    @model_validator(mode="after")
    def _crops_have_a_size(self) -> "DataConfig":
        smallest, largest = self.crop_scale
        if not 0 < smallest <= largest:
            raise ValueError(f"crop_scale={self.crop_scale} must be (smallest, largest), both above 0")
        if self.cache_folder and not self.latent_cache:
            raise ValueError(f"cache_folder={self.cache_folder!r} has no use without latent_cache")
        if "://" in self.cache_folder:
            raise ValueError(f"cache_folder={self.cache_folder!r} is no folder: mount the bucket (gcsfuse) and give that path")
        return self


class CheckpointConfig(Strict):
    """How often a run can be picked up again."""

    every: PositiveInt = 1_000
    """Steps between checkpoints; the last step always gets one."""
    keep: PositiveInt = 2
    """Newest checkpoints kept."""
    keep_best: str = ""
    """Held-out metric whose best checkpoint is kept too, such as held_out/lpips: the largest psnr or ssim, the smallest others."""
    keep_every: NonNegativeInt = 0
    """Steps between checkpoints that are kept for good; 0 keeps none."""
    patience: PositiveInt = 60
    """Minutes for which checkpoints may go on failing, as on a full disk, before the run stops."""

    @model_validator(mode="after")
    def _what_is_kept_is_saved(self) -> "CheckpointConfig":
        if self.keep_best and not self.keep_best.startswith("held_out/"):
            raise ValueError(f"keep_best={self.keep_best!r} must be a metric of the held-out pictures, such as held_out/pre_error")
        if self.keep_every % self.every:
            raise ValueError(f"keep_every={self.keep_every} must be a multiple of every={self.every}")
        return self


class LogConfig(Strict):
    """How often a run reports, in steps."""

    every: PositiveInt = 50
    """Steps between records in metrics.jsonl and TensorBoard, and between lines where the output is no terminal."""
    evaluate_every: PositiveInt = 1_000
    """Steps between measurements on the held-out pictures and sample sheets."""
    samples: PositiveInt = 8
    """Rows of a sample sheet."""


class TrainConfig(Strict):
    """Every setting of a run."""

    model: ModelConfig = ModelConfig()
    critic: CriticConfig = CriticConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    sharding: ShardingConfig = ShardingConfig()
    data: DataConfig = DataConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    log: LogConfig = LogConfig()
    seed: Seed = 0
    """Of fresh weights, of the order of pictures, crops, masks and noise: the same seed gives the same run."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> "TrainConfig":
        stride = 2 ** (len(self.model.channels) - 1)
        if self.data.image_size % stride:
            raise ValueError(f"data.image_size={self.data.image_size} must be a multiple of {stride}")
        if self.checkpoint.keep_best and (self.log.evaluate_every % self.checkpoint.every or not self.data.held_out):
            raise ValueError(
                f"checkpoint.keep_best={self.checkpoint.keep_best!r} needs data.held_out above 0, and "
                f"log.evaluate_every={self.log.evaluate_every} to be a multiple of checkpoint.every={self.checkpoint.every}"
            )
        if self.data.image_size < SMALLEST_PICTURE and (self.data.held_out or self.loss.perceptual):
            raise ValueError(f"data.image_size={self.data.image_size} is too small to be measured: at least {SMALLEST_PICTURE}")
        # Its last two layers each take one pixel away; below 3 nothing is left to score.
        if self.loss.adversarial and self.data.image_size // 2**self.critic.layers < 3:
            raise ValueError(
                f"data.image_size={self.data.image_size} is too small for critic.layers={self.critic.layers}: "
                f"at least {3 * 2**self.critic.layers}"
            )
        if self.loss.adversarial and self.data.batch_size % self.critic.norm_images:
            raise ValueError(
                f"data.batch_size={self.data.batch_size} must be a multiple of critic.norm_images={self.critic.norm_images}"
            )
        part, rest = divmod(self.data.batch_size, self.optim.accumulate)
        if rest:
            raise ValueError(
                f"data.batch_size={self.data.batch_size} must be a multiple of optim.accumulate={self.optim.accumulate}"
            )
        if self.loss.adversarial and part % self.critic.norm_images:
            raise ValueError(
                f"optim.accumulate={self.optim.accumulate} leaves {part} pictures at a time; it must be a multiple of "
                f"critic.norm_images={self.critic.norm_images}"
            )
        return self
