from dataclasses import FrozenInstanceError, dataclass, fields, make_dataclass

import pytest

from geobench import SettingError, UnknownNameError
from geobench.settings import as_dict, configure, meanings, parse_assignments
from geobench_plugins.geoclip.config import GeoClipConfig


@dataclass(frozen=True)
class Example:
    lr: float = 1e-3
    epochs: int = 10
    shuffle: bool = True
    note: str = ""
    sizes: tuple[int, ...] = (5, 2)
    window: tuple[float, int] = (0.5, 1)
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise SettingError("epochs must be at least 1.")


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
        ("note=", "note", ""),
        ("note=a=b", "note", "a=b"),
        ("sizes=[1, 2, 3]", "sizes", (1, 2, 3)),
        ("window=[1, 2]", "window", (1.0, 2)),
        ("limit=7", "limit", 7),
        ("limit=none", "limit", None),
    ],
)
def test_a_setting_is_typed_by_its_field(assignment, name, value):
    made = getattr(example(assignment), name)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize(
    ("assignment", "kind"),
    [
        ("lr=fast", "float"),
        ("lr=true", "float"),
        ("epochs=2.5", "int"),
        ("epochs=true", "int"),
        ("epochs=many", "int"),
        ("shuffle=1", "bool"),
        ("shuffle=yes", "bool"),
        ("note=5", "str"),
        ("sizes=5", "tuple"),
        ("sizes=[1.5]", "int"),
        ("window=[1, 2, 3]", "tuple"),
        ("limit=few", "int"),
    ],
)
def test_a_value_of_another_type_names_setting_model_type_and_value(assignment, kind):
    name = assignment.partition("=")[0]
    with pytest.raises(SettingError, match=rf"the setting {name} of knn must be of the type .*{kind}.*, not "):
        example(assignment)


def test_an_unknown_setting_gets_the_nearest_names():
    with pytest.raises(UnknownNameError, match="unknown setting of knn 'epoch'; did you mean epochs"):
        example("epoch=3")


@pytest.mark.parametrize("assignment", ["lr", "=3", ""])
def test_what_is_no_assignment_is_told_how_to_write_one(assignment):
    with pytest.raises(SettingError, match="is no setting; write --set NAME=VALUE, such as --set lr=1e-3"):
        parse_assignments([assignment])


def test_the_last_of_two_settings_of_one_name_wins():
    assert example("lr=1", "lr=2").lr == 2.0


def test_a_value_out_of_range_is_the_configurations_own_affair():
    with pytest.raises(SettingError, match="at least 1"):
        example("epochs=0")


def test_a_configuration_is_frozen_and_its_values_go_through_json_and_back():
    config = example("lr=0.5", "sizes=[9]")
    with pytest.raises(FrozenInstanceError):
        config.lr = 1.0
    values = as_dict(config)
    assert values["sizes"] == (9,)
    assert configure(Example, values | {"sizes": [9], "window": [0.5, 1]}, "knn") == config


def test_the_meaning_of_a_setting_is_the_comment_behind_it_also_of_those_it_extends():
    told = meanings(GeoClipConfig)
    assert told["lr_decay"] == "factor per epoch"
    assert told["hidden_layers"] == "released code; the paper says four"
    assert set(told) == {field.name for field in fields(GeoClipConfig)}
    assert meanings(make_dataclass("Made", [("x", int, 1)])) == {}
