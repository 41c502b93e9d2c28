"""The data sets of this distribution: one TOML each."""

from pathlib import Path

from geobench import hookimpl


@hookimpl
def register_datasets(register):
    """Tell geobench about the data set."""
    register(Path(__file__).parent / "relief-wide.toml")
