"""Settings: hyper-parameters and definitions that declare what is valid, and are checked against it by pydantic."""

from geobench.settings.hyperparameters import (
    as_dict,
    configure,
    described,
    parse_assignments,
    setting,
    setting_names,
    settings,
    stated,
)

__all__ = ["as_dict", "configure", "described", "parse_assignments", "setting", "setting_names", "settings", "stated"]
