import copy
import pickle
import re
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from annotated_types import Gt

from geobench import PluginError, SettingError, UnknownNameError
from geobench.classification import CellConfig
from geobench.plugins import get_model_class, get_models
from geobench.settings import as_dict, configure, described, parse_assignments, setting, settings
from geobench.training.engine import Schedule
from geobench_plugins.baselines import MostFrequentConfig
from geobench_plugins.geoclip.config import GeoClipConfig
from geobench_plugins.knn import KnnConfig


@settings
class Example:
    lr: float = setting(1e-3, "learning rate", gt=0, source="equation 2")
    epochs: int = setting(10, ge=1, le=2000)
    share: float = setting(0.0, ge=0, lt=1)
    shuffle: bool = True
    note: str = ""
    mode: Literal["fast", "exact"] = setting("fast", "how")
    sizes: tuple[int, ...] = (5, 2)
    widths: tuple[Annotated[float, Gt(0)], ...] = ()
    boxes: tuple[tuple[int, ...], ...] = ()
    window: tuple[float, int] = (0.5, 1)
    limit: int | None = setting(None, "an integer or none", ge=1)

    def __post_init__(self) -> None:
        if self.sizes and self.epochs < len(self.sizes):
            raise ValueError(f"epochs must be at least the number of sizes, {len(self.sizes)}, not {self.epochs}.")


def example(*assignments):
    return configure(Example, parse_assignments(assignments), "knn")


def test_without_settings_the_defaults_stand():
    assert example() == Example()


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("lr=1e-4", "lr", 1e-4),
        ("lr = 2", "lr", 2.0),
        ("epochs=3", "epochs", 3),
        ("epochs=1_000", "epochs", 1000),
        ("shuffle=false", "shuffle", False),
        ("shuffle=True", "shuffle", True),
        ("note=half way", "note", "half way"),
        ('note="5"', "note", "5"),
        ("note=none", "note", "none"),
        ("note=", "note", ""),
        ("note=a=b", "note", "a=b"),
        ("mode=exact", "mode", "exact"),
        ("sizes=[1, 2, 3]", "sizes", (1, 2, 3)),
        ("sizes=[]", "sizes", ()),
        ("widths=[1, 0.5]", "widths", (1.0, 0.5)),
        ("boxes=[[1, 2], [3]]", "boxes", ((1, 2), (3,))),
        ("window=[1, 2]", "window", (1.0, 2)),
        ("limit=7", "limit", 7),
        ("limit=none", "limit", None),
    ],
)
def test_a_setting_is_typed_by_its_field(assignment, name, value):
    found = getattr(example(assignment), name)
    assert found == value
    assert type(found) is type(value)
    assert not isinstance(value, tuple) or list(map(type, found)) == list(map(type, value))


WRONG = [
    ("lr=fast", "lr must be a number above 0, not 'fast'."),
    ("lr=true", "lr must be a number above 0, not True."),
    ("lr=0", "lr must be a number above 0, not 0."),
    ("lr=nan", "lr must be a finite number above 0, not nan."),
    ("lr=inf", "lr must be a finite number above 0, not inf."),
    ("epochs=2.5", "epochs must be an integer of at least 1 and at most 2000, not 2.5."),
    ("epochs=2.0", "epochs must be an integer of at least 1 and at most 2000, not 2.0."),
    ('epochs="3"', "epochs must be an integer of at least 1 and at most 2000, not '3'."),
    ("epochs=true", "epochs must be an integer of at least 1 and at most 2000, not True."),
    ("epochs=0", "epochs must be an integer of at least 1 and at most 2000, not 0."),
    ("epochs=2001", "epochs must be an integer of at least 1 and at most 2000, not 2001."),
    ("share=1", "share must be a number of at least 0 and below 1, not 1."),
    ("shuffle=1", "shuffle must be true or false, not 1."),
    ("shuffle=no", "shuffle must be true or false, not 'no'."),
    ("note=5", "note must be a string, not 5."),
    ("mode=slow", "mode must be fast or exact, not 'slow'."),
    ("sizes=5", "sizes must be a list of integers, not 5."),
    ("sizes=[1.5]", "sizes[1] must be an integer, not 1.5."),
    ("widths=[1, 0]", "widths[2] must be a number above 0, not 0."),
    ("boxes=[[1, 'x']]", "boxes[1][2] must be an integer, not 'x'."),
    ("window=[1, 2, 3]", "window must be a list of a number and an integer, not [1, 2, 3]."),
    ("window=[1, 2.5]", "window[2] must be an integer, not 2.5."),
    ("limit=few", "limit must be an integer of at least 1, not 'few'."),
    ("limit=0", "limit must be an integer of at least 1, not 0."),
    (f"epochs={'9' * 200}x", f"epochs must be an integer of at least 1 and at most 2000, not '{'9' * 99}…."),
    ("epochs=1", "epochs must be at least the number of sizes, 2, not 1."),
]


@pytest.mark.parametrize(("assignment", "line"), WRONG)
def test_a_value_that_does_not_fit_is_one_line_with_model_setting_what_is_valid_and_the_value(assignment, line):
    with pytest.raises(SettingError) as caught:
        example(assignment)
    assert str(caught.value) == f"knn: {line}"


@pytest.mark.parametrize(("assignment", "line"), WRONG)
def test_a_class_that_is_called_directly_raises_the_same_error(assignment, line):
    with pytest.raises(SettingError) as caught:
        Example(**parse_assignments([assignment]))
    assert str(caught.value) == f"Example: {line}"


def test_lists_become_tuples_and_integers_numbers_also_by_position():
    assert Example(2, 3, 0, True, "", "fast", [1, 2]) == Example(lr=2.0, epochs=3, sizes=(1, 2))
    assert type(Example(2).lr) is float
    with pytest.raises(SettingError, match=r"^Example: lr must be a number above 0, not -1\.$"):
        Example(-1)
    with pytest.raises(SettingError, match=r"^Example: Unexpected positional argument: 12\.$"):
        Example(1.0, 2, 0.0, True, "", "fast", (), (), (), (0.5, 1), None, 12)


def test_a_replaced_value_is_checked_and_a_copy_is_equal():
    config = Example(epochs=3)
    assert replace(config, epochs=4).epochs == 4
    assert pickle.loads(pickle.dumps(Schedule(epochs=3))) == Schedule(epochs=3)
    assert copy.deepcopy(config) == config
    with pytest.raises(SettingError, match="epochs must be an integer"):
        replace(config, epochs=0)


def test_an_unknown_setting_gets_the_nearest_names():
    with pytest.raises(UnknownNameError, match="unknown setting of knn 'epoch'; did you mean epochs"):
        example("epoch=3")
    with pytest.raises(SettingError, match=r"^Example: unknown key 'epoch'; did you mean epochs"):
        Example(epoch=3)


@pytest.mark.parametrize("assignment", ["lr", "=3", ""])
def test_what_is_not_an_assignment_gets_an_example_of_one(assignment):
    with pytest.raises(SettingError, match="is not a setting; write NAME=VALUE, such as lr=1e-3"):
        parse_assignments([assignment])


def test_the_last_of_two_settings_of_one_name_wins():
    assert example("lr=1", "lr=2").lr == 2.0


def test_a_configuration_is_frozen_and_its_values_go_through_json_and_back():
    config = example("lr=0.5", "sizes=[9]")
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0
    values = as_dict(config)
    assert values["sizes"] == (9,)
    assert configure(Example, values | {"sizes": [9], "window": [0.5, 1]}, "knn") == config


def test_rules_of_the_class_that_is_extended_hold_as_well():
    @settings
    class Longer(Example):
        more: int = setting(1, ge=1)

    assert list(as_dict(Longer(more=2))) == [*as_dict(Example()), "more"]
    for wrong in ({"more": 0}, {"epochs": 0}, {"epochs": 1}):
        with pytest.raises(SettingError, match=r"^Longer: "):
            Longer(**wrong)


def test_a_plain_dataclass_is_checked_by_its_types():
    @dataclass(frozen=True)
    class Plain:
        sizes: tuple[int, ...] = ()

    assert configure(Plain, {"sizes": [1]}, "mine").sizes == (1,)
    with pytest.raises(SettingError, match=r"^mine: sizes\[1\] must be an integer, not '1'"):
        configure(Plain, {"sizes": ["1"]}, "mine")


def test_a_declaration_that_cannot_work_is_one_line_that_names_the_class():
    @settings
    class WrongDefault:
        k: int = setting("many")

    @settings
    class WrongBound:
        name: str = setting("a", ge=1)

    @settings
    class WrongType:
        k: "Unknown" = 1  # noqa: F821

    with pytest.raises(SettingError, match=r"^WrongDefault: k must be an integer, not 'many'\.$"):
        WrongDefault()
    with pytest.raises(PluginError, match=r"WrongBound failed as a declaration: TypeError: "):
        WrongBound()
    with pytest.raises(PluginError, match=r"WrongType failed as a declaration: NameError: name 'Unknown'"):
        WrongType()


DEFAULTS = {
    KnnConfig: {"k": 50, "sigma_km": 4.0},
    MostFrequentConfig: {"max_images": 1000},
    CellConfig: {
        "batch_size": 512,
        "epochs": 10,
        "lr": 0.0003,
        "weight_decay": 1e-06,
        "lr_decay": 0.87,
        "holdout": 0.0,
        "patience": 0,
        "precision": "auto",
        "compiled": "auto",
        "backbone": "frozen",
        "blocks": 1,
        "backbone_lr": 0.1,
        "layer_decay": 1.0,
        "accumulate": 1,
        "checkpointing": False,
        "optimiser": "adam",
        "momentum": 0.9,
        "lr_schedule": "step",
        "lr_step": 1,
        "warm_up": 0.0,
        "min_images": 50,
        "max_images": (5000, 2000, 1000),
        "rule": "isn",
        "cells": (),
        "cells_digest": "",
    },
    GeoClipConfig: {
        "batch_size": 512,
        "epochs": 10,
        "lr": 3e-05,
        "weight_decay": 1e-06,
        "lr_decay": 0.87,
        "holdout": 0.0,
        "patience": 0,
        "precision": "auto",
        "compiled": "auto",
        "projection": "equal_earth",
        "projection_scale": 66.50336,
        "fourier": True,
        "fourier_rows": 256,
        "sigma_min": 1.0,
        "sigma_max": 256.0,
        "hierarchies": 3,
        "sigma_list": (),
        "hidden_dim": 1024,
        "hidden_layers": 3,
        "dim": 512,
        "head_dim": 768,
        "head_relu": True,
        "queue_length": 4096,
        "queue_start": "uniform",
        "queue_dynamic": True,
        "batch_noise_m": 150.0,
        "queue_noise_m": 1000.0,
        "temperature": 0.07,
        "temperature_learnable": True,
        "symmetric": False,
    },
}
"""What keys of checkpoints are digests of: a change here makes every checkpoint be trained again."""


@pytest.mark.parametrize("config", DEFAULTS)
def test_the_defaults_of_the_bundled_models_are_those_that_their_keys_stand_for(config):
    assert repr(asdict(config())) == repr(DEFAULTS[config])


@pytest.mark.parametrize("name", sorted(get_models()))
def test_every_setting_of_a_bundled_model_is_declared_with_a_meaning_and_a_default_that_fits(name):
    config = get_model_class(name).Config
    for row in described(config):
        assert row["meaning"] and row["valid"], row
    assert configure(config, asdict(config()), name) == config()


def test_what_models_show_prints_is_what_is_declared(cli):
    assert described(Example)[0] == {
        "setting": "lr",
        "default": 1e-3,
        "valid": "a number above 0",
        "meaning": "learning rate",
        "source": "equation 2",
    }
    shown = {row["setting"]: row for row in described(GeoClipConfig)}
    assert list(shown) == [field.name for field in fields(GeoClipConfig)]
    assert shown["hidden_layers"]["source"] == "released code; the paper says four"
    assert shown["queue_start"]["valid"] == "uniform or origin"
    assert shown["sigma_list"]["valid"] == "a list of numbers above 0"
    table = cli("models", "show", "classifier").stdout
    for text in ("factor on the learning rate after each", "a list of integers of at", "[5000, 2000, 1000]", "ISNs"):
        assert text in table


def test_the_example_of_the_documentation_refuses_what_it_says_with_the_line_that_it_says():
    page = (Path(__file__).parents[1] / "docs/write-a-model-plugin.md").read_text(encoding="utf-8")
    section = page.partition("### Settings")[2]
    names = {}
    exec(section.partition("```python\n")[2].partition("```")[0], names)
    assert configure(names["Config"], {}, "ridge") == names["Config"]()
    lines = re.findall(r"^\| `(\w+=\S+)` \| `(.+)` \|$", section, re.MULTILINE)
    assert len(lines) == 4
    for assignment, line in lines:
        with pytest.raises((SettingError, UnknownNameError)) as caught:
            configure(names["Config"], parse_assignments([assignment]), "ridge")
        assert str(caught.value).startswith(line)
    with pytest.raises(SettingError, match=r"^ridge: scales_km must rise, such as \[1, 25\], not \[2.0, 1.0\]\.$"):
        configure(names["Config"], {"scales_km": [2, 1]}, "ridge")
