"""Register every TOML in this folder: adding a data set is adding a file."""

from pathlib import Path

from geobench import hookimpl


@hookimpl
def register_datasets(register):
    """Register the bundled data sets."""
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        register(path)
