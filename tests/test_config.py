"""Settings: presets, refusals, and the command line on top of them."""

import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

import train
from asym_jax.commands import parse_train
from asym_jax.config import CheckpointConfig, CriticConfig, DataConfig, LossConfig, ModelConfig, OptimConfig, Strict, TrainConfig
from asym_jax.data.recipes import RECIPES

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "configs").glob("*.py"))


def parse(*arguments: str) -> TrainConfig:
    return parse_train(arguments, ROOT / "configs", "").config


def leaves(config: Strict, prefix: str = "") -> Iterator[tuple[str, str | None]]:
    """("optim.learning_rate", its docstring) of every setting."""
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Strict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, field.description


def words(text: str) -> str:
    """Without frames and line breaks."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_survives_a_round_trip_through_json(path):
    config = runpy.run_path(str(path))["config"]
    assert isinstance(config, TrainConfig)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert hash(TrainConfig.model_validate(config.model_dump(mode="json"))) == hash(config)


def test_the_preset_of_the_first_five_minutes_exists():
    assert "demo" in [path.stem for path in PRESETS]


def test_values_never_change():
    config = TrainConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.optim.steps = 3


@pytest.mark.parametrize("section", [ModelConfig, CriticConfig, LossConfig, OptimConfig, DataConfig, TrainConfig])
def test_unknown_keys_are_refused(section):
    with pytest.raises(ValueError, match="^bath_size: Extra inputs are not permitted"):
        section(bath_size=3)
    with pytest.raises(ValidationError, match="bath_size"):
        section.model_validate({"bath_size": 3})


IMPOSSIBLE = [
    (lambda: ModelConfig(channels=(30,), norm_groups=32), "channels [30] must be multiples of norm_groups=32"),
    (lambda: ModelConfig(channels=()), "channels"),
    (lambda: ModelConfig(blend="multiply"), "blend: Input should be 'add' or 'concatenate' (got 'multiply')"),
    (lambda: LossConfig(adversarial=-1), "adversarial: Input should be greater than or equal to 0 (got -1)"),
    (lambda: CriticConfig(layers=0), "layers: Input should be greater than 0 (got 0)"),
    (lambda: LossConfig(perceptual="much"), "perceptual"),
    (lambda: LossConfig(adaptive_max=float("inf")), "adaptive_max: Input should be a finite number"),
    (lambda: LossConfig(critic_start=5, adversarial_start=4), "adversarial_start=4 lies before critic_start=5"),
    (lambda: OptimConfig(steps=10, warmup_steps=10), "warmup_steps=10 must be below steps=10"),
    (lambda: OptimConfig(learning_rate=0), "learning_rate"),
    (lambda: OptimConfig(learning_rate=1e-5, final_learning_rate=2e-6), "final_learning_rate=2e-06 exceeds"),
    (lambda: OptimConfig(groups=(("(", 1.0),)), "groups: '(' is not a regular expression"),
    (lambda: OptimConfig(betas=(0.5, 1.0)), "betas.1: Input should be less than 1"),
    (lambda: OptimConfig(ema_decay=1), "ema_decay"),
    (lambda: DataConfig(full_mask_probability=1.5), "full_mask_probability"),
    (lambda: DataConfig(held_out=-1), "held_out"),
    (lambda: CheckpointConfig(every=10, keep_every=25), "keep_every=25 must be a multiple of every=10"),
    (lambda: CheckpointConfig(keep_best="loss/total"), "keep_best='loss/total' must be a metric of the held-out pictures"),
    (lambda: CheckpointConfig(patience=0), "patience"),
    (
        lambda: TrainConfig(checkpoint=CheckpointConfig(every=300, keep_best="held_out/l1")),
        "checkpoint.keep_best='held_out/l1' needs data.held_out above 0, and log.evaluate_every=1000 to be a multiple of",
    ),
    (
        lambda: TrainConfig(checkpoint=CheckpointConfig(keep_best="held_out/l1"), data=DataConfig(held_out=0)),
        "checkpoint.keep_best='held_out/l1' needs data.held_out above 0",
    ),
    (lambda: DataConfig(crop_scale=(0.9, 0.5)), "crop_scale=(0.9, 0.5)"),
    (lambda: DataConfig(crop_scale=(0.0, 0.5)), "crop_scale"),
    (lambda: TrainConfig(seed=-1), "seed"),
    (lambda: TrainConfig(data=DataConfig(image_size=60)), "data.image_size=60 must be a multiple of 8"),
    (lambda: TrainConfig(data=DataConfig(image_size=8)), "data.image_size=8 is too small to be measured: at least 16"),
    (lambda: TrainConfig(data=DataConfig(image_size=16)), "data.image_size=16 is too small for critic.layers=3: at least 24"),
    (lambda: TrainConfig(data=DataConfig(batch_size=25)), "data.batch_size=25 must be a multiple of critic.norm_images=10"),
]


@pytest.mark.parametrize(("make", "message"), IMPOSSIBLE, ids=[message.split(":")[0][:40] for _, message in IMPOSSIBLE])
def test_impossible_values_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_what_is_not_used_need_not_fit():
    tiny = DataConfig(image_size=8, batch_size=3, held_out=0)
    TrainConfig(data=tiny, loss=LossConfig(perceptual=0, adversarial=0))


def test_all_bad_fields_are_named_at_once():
    with pytest.raises(ValueError, match="^steps: .* 0.*; epsilon: .* -1"):
        OptimConfig(steps=0, epsilon=-1)


def test_the_command_line_overrides_one_leaf_and_keeps_the_rest():
    preset = parse("--config", "demo")
    assert preset == runpy.run_path(str(ROOT / "configs" / "demo.py"))["config"]
    changed = parse("--config", "demo", "--optim.learning-rate", "1e-3")
    assert changed.optim.learning_rate == 1e-3 != preset.optim.learning_rate
    there, here = preset.model_dump(), changed.model_dump()
    here["optim"]["learning_rate"] = there["optim"]["learning_rate"]
    assert here == there


def test_every_kind_of_value_can_be_given():
    config = parse(
        *(
            "--config",
            "demo",
            "--model.channels",
            "8",
            "16",
            "--data.crop-scale",
            "0.25",
            "1",
            "--data.source",
            "folder:/some where",
        ),
        *("--loss.pixel", "l2", "--optim.groups", "bias", "0.5", ".*", "1", "--log.every=7", "--seed", "3"),
    )
    assert (config.model.channels, config.data.crop_scale) == ((8, 16), (0.25, 1.0))
    assert (config.data.source, config.loss.pixel) == ("folder:/some where", "l2")
    assert config.optim.groups == (("bias", 0.5), (".*", 1.0))
    assert (config.log.every, config.seed) == (7, 3)
    assert config.log.evaluate_every == parse("--config", "demo").log.evaluate_every


def test_folder_and_file_of_a_preset_name_the_run(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("from asym_jax.config import *\nconfig = TrainConfig(seed=5)\n")
    command = parse_train(["--config", str(mine)], ROOT / "configs", "")
    assert (command.config, command.workdir, command.fresh) == (TrainConfig(seed=5), Path("runs/mine"), False)
    command = parse_train(["--config", "demo", "--fresh", "--workdir", "/elsewhere"], ROOT / "configs", "")
    assert (command.workdir, command.fresh) == (Path("/elsewhere"), True)


def test_help_lists_every_setting_with_its_docstring(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as ended:
        train.main(["--help"])
    assert ended.value.code == 0
    said = words(capsys.readouterr().out)
    for option in ("--config NAME|FILE.py", "--workdir DIR", "--fresh", "demo"):
        assert option in said
    settings = dict(leaves(TrainConfig()))
    assert len(settings) > 35
    for name, description in settings.items():
        assert re.search(f"--{re.escape(name.replace('_', '-'))}[ ,]", said)
        assert words(description or "") in said, name
        assert description, f"{name} has no words of its own"


def test_the_help_names_every_recipe_of_holes():
    named = words(dict(leaves(TrainConfig()))["data.mask"])
    assert {f"{width}_{size}" for width in ("thin", "medium", "thick") for size in (256, 512)} == RECIPES.keys()
    assert "thin_256, medium_256, thick_256, or these with _512;" in named
