import numpy as np
import pytest
from PIL import Image

from geobench import ImageError, get_dataset
from geobench.data.land import basemap_file, is_land
from geobench.data.raster import RasterDataset
from geobench.geo import METRES_PER_DEGREE, haversine_km

SPLITS = {"train": {"count": 30, "seed": 0}, "test": {"count": 20, "seed": 1}}


@pytest.fixture(scope="module")
def graticule(tmp_path_factory):
    """A world map, 4 pixels a degree, whose red grows with the longitude and whose green falls with the latitude."""
    path = tmp_path_factory.mktemp("map") / "graticule.png"
    red, green = np.meshgrid(np.linspace(0, 255, 1440), np.linspace(0, 255, 720))
    Image.fromarray(np.stack([red, green, 0 * red], axis=2).round().astype(np.uint8)).save(path)
    return str(path)


def crops(**changes):
    return RasterDataset("crops", "Crops", splits=SPLITS, **changes)


@pytest.mark.parametrize("latitude", [0, 45, -60, 70])
def test_a_crop_covers_the_same_ground_at_every_latitude(graticule, latitude):
    image = crops(raster=graticule, crop_km=3000, crop_pixels=64).read_image(f"{latitude:+.5f}+010.00000", "test")
    red, green, _ = np.asarray(image, dtype=np.float64).transpose(2, 0, 1)
    # From the first to the last pixel's centre it is 63/64 of the side.
    degrees_wide = (red[32, -1] - red[32, 0]) / 255 * 360 * 64 / 63
    degrees_high = (green[-1, 32] - green[0, 32]) / 255 * 180 * 64 / 63
    km_per_degree = METRES_PER_DEGREE / 1000
    assert degrees_wide * np.cos(np.radians(latitude)) * km_per_degree == pytest.approx(3000, rel=0.05)
    assert degrees_high * km_per_degree == pytest.approx(3000, rel=0.05)


def test_the_middle_of_a_crop_is_the_place_it_is_named_after(graticule):
    image = crops(raster=graticule, crop_km=500, crop_pixels=33).read_image("+30.00000-120.00000", "test")
    red, green, _ = image.getpixel((16, 16))
    assert red / 255 * 360 - 180 == pytest.approx(-120, abs=1)
    assert 90 - green / 255 * 180 == pytest.approx(30, abs=1)


@pytest.mark.parametrize("longitude", [180.0, -180.0, 179.2, -178.9])
@pytest.mark.parametrize("latitude", [66.5, -17.0])
def test_a_crop_across_the_date_line_is_that_of_a_map_cut_at_greenwich(latitude, longitude):
    dataset = crops(crop_km=400, crop_pixels=96)
    with Image.open(basemap_file("bmng.jpg")) as file:
        world = np.asarray(file.convert("RGB"))
    height, width, _ = world.shape
    turned = Image.fromarray(np.roll(world, width // 2, axis=1))  # its middle is the date line
    per_degree = height / 180
    half = 200 / 111.195080234
    x, y = width / 2 + ((longitude + 360) % 360 - 180) * per_degree, (90 - latitude) * per_degree
    dx, dy = half / np.cos(np.radians(latitude)) * per_degree, half * per_degree
    judged = turned.resize((96, 96), Image.Resampling.BILINEAR, box=(x - dx, y - dy, x + dx, y + dy))
    np.testing.assert_array_equal(
        np.asarray(dataset.read_image(f"{latitude:+.5f}{longitude:+.5f}", "test")), np.asarray(judged)
    )


def test_both_names_of_the_date_line_are_one_crop():
    east, west = (crops().read_image(f"+66.50000{line}180.00000", "test").tobytes() for line in "+-")
    assert east == west


def test_a_crop_is_the_same_each_time():
    first, second = (crops().read_image("+45.76000+4.84000", "test") for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert (first.size, first.mode) == ((96, 96), "RGB")


def test_a_table_is_the_same_each_time_and_its_splits_differ():
    dataset = crops()
    table = dataset.table("test")
    assert table.equals(dataset.table("test"))
    assert not set(table["image"]) & set(dataset.table("train")["image"])
    assert (len(table), len(dataset.table("train"))) == (20, 30)


def test_a_limit_takes_the_first_crops_and_may_exceed_the_usual_number():
    dataset = crops()
    assert dataset.table("test", 7).equals(dataset.table("test").head(7))
    assert dataset.table("test", 50).head(20).equals(dataset.table("test"))
    assert len(dataset.table("test", 50)) == 50


def test_the_name_of_a_crop_is_its_position():
    table = crops().table("test")
    split = table["image"].str.extract(r"^([+-]\d+\.\d{5})([+-]\d+\.\d{5})$").astype(float)
    np.testing.assert_array_equal(split.to_numpy(), table[["latitude", "longitude"]].to_numpy())


def test_crops_lie_on_land_between_the_latitudes():
    coordinates = crops(south=-10, north=40).table("test", 400)[["latitude", "longitude"]].to_numpy()
    assert coordinates[:, 0].min() >= -10
    assert coordinates[:, 0].max() <= 40
    assert is_land(coordinates).mean() > 0.99  # the name is rounded to a metre


def test_cities_are_on_land_and_seas_and_lakes_are_not():
    land = [(48.8566, 2.3522), (-23.5505, -46.6333), (64.0, 100.0), (-75.0, 90.0)]
    water = [(40.0, -40.0), (0.0, -140.0), (-1.0, 33.0), (54.0, 108.5), (35.0, 18.0)]  # Victoria, Baikal among them
    assert is_land(np.array(land)).all()
    assert not is_land(np.array(water)).any()


def test_the_corners_of_the_world_have_a_cell():
    corners = np.array([(90.0, 180.0), (-90.0, -180.0), (90.0, -180.0), (-90.0, 180.0)])
    assert is_land(corners).tolist() == [False, True, False, True]  # the North Pole is sea, the South Pole is land


@pytest.mark.parametrize("name", ["photo-1.jpg", "", "+45.76000", "+a+b"])
def test_a_name_that_is_no_crop_is_an_image_error(name):
    with pytest.raises(ImageError, match="is not the name of a crop"):
        crops().read_image(name, "test")


def test_the_content_key_follows_the_map_the_size_and_the_centres():
    dataset, table = crops(), crops().table("test")
    keys = {
        dataset.content_key(table, "test"),
        dataset.content_key(table.head(19), "test"),
        crops(crop_km=401).content_key(table, "test"),
        crops(crop_pixels=95).content_key(table, "test"),
        crops(raster="shadedrelief.jpg").content_key(table, "test"),
    }
    assert len(keys) == 5
    assert dataset.content_key(table, "test") == crops().content_key(crops().table("test"), "test")


def test_the_embedded_sets_are_here_and_hold_what_they_state():
    for name in ("bluemarble", "shadedrelief"):
        dataset = get_dataset(name)
        assert dataset.present
        assert len(dataset.table("test")) == dataset.count


def test_crops_are_imagery_not_one_colour():
    dataset = get_dataset("bluemarble")
    spreads = [np.asarray(dataset.read_image(name, "test")).std() for name in dataset.table("test", 5)["image"]]
    assert min(spreads) > 1


def test_neighbouring_crops_overlap_and_distant_ones_do_not_look_alike():
    here, near, far = (
        np.asarray(crops().read_image(name, "test"), dtype=float)
        for name in ("+10.00000+20.00000", "+10.02000+20.00000", "-25.00000+135.00000")
    )
    assert haversine_km([(10, 20)], [(10.02, 20)])[0] < 3
    assert np.abs(here - near).mean() < np.abs(here - far).mean() / 2
