"""The best that is possible with a gallery, judged by the distances to every point of it."""

import json

import numpy as np
import pytest

from geobench import UnknownNameError, get_gallery, get_metrics, train
from geobench.audits.ceiling import ceiling, ceilings
from geobench.data.land import sample_land
from geobench.devices import peak_memory_mb
from geobench.gallery import Gallery, is_oracle
from geobench.geo import haversine_km, nearest_km, place_keys, sample_sphere
from geobench.metrics import accuracies

CORNERS = np.array([[90.0, 0.0], [-90.0, 12.0], [0.0, 180.0], [0.0, -180.0], [10.0, -179.9999], [10.0, 179.9999]])


def test_the_nearest_point_is_that_of_a_search_through_all_of_them_at_full_size():
    rng = np.random.default_rng(0)
    truth = np.concatenate([CORNERS, sample_land(2991, rng)])
    gallery = get_gallery("land:100k").coordinates
    found = nearest_km(truth, gallery)
    for row in [*range(6), *rng.choice(len(truth), 200, replace=False)]:
        every = haversine_km(np.broadcast_to(truth[row], gallery.shape), gallery)
        assert found[row] == pytest.approx(every.min(), abs=1e-9)


def test_memory_grows_with_the_gallery_not_with_gallery_times_test_set():
    rng = np.random.default_rng(0)
    truth, gallery = sample_sphere(30_000, rng), sample_sphere(100_000, rng)
    nearest_km(truth[:10], gallery[:10])
    before = peak_memory_mb()
    nearest_km(truth, gallery)
    assert peak_memory_mb() - before < 100  # every distance at once would be 24 GB


def test_points_that_repeat_do_no_harm():
    truth = np.array([[10.0, 20.0], [11.0, 20.0]])
    found = nearest_km(truth, np.repeat([[10.0, 20.0]], 50_000, axis=0))
    np.testing.assert_allclose(found, [0, 111.195], atol=1e-3)


def test_the_scores_are_those_of_a_model_that_picks_the_nearest_point():
    # One degree of latitude is 111.195 km: distances 0, 111.2, 444.8 and 2224 km.
    truth = np.array([[0.0, 0.0], [1.0, 0.0], [4.0, 0.0], [20.0, 0.0]])
    gallery = Gallery(np.array([[0.0, 0.0], [-30.0, 0.0], [0.0, 0.0]]), "places.csv")
    found = ceiling("mine", truth, gallery)
    levels = [found.scores[metric.name] for metric in accuracies(get_metrics())]
    assert levels == [25, 25, 50, 75, 100]
    assert (found.size, found.distinct, found.n, found.in_gallery, found.oracle) == (3, 2, 4, 1, True)


def test_a_gallery_is_an_oracle_if_it_holds_15_percent_of_the_test_coordinates():
    assert [is_oracle(k, 1000) for k in (0, 149, 150, 1000)] == [False, False, True, True]
    assert not is_oracle(0, 0)


def test_one_position_written_in_two_ways_is_one_place():
    written = np.array([[40.445379, 116.66399], [40.445378999999996, 116.66398999999998], [40.44538, 116.66399]])
    keys = place_keys(written)
    assert keys[0] == keys[1] != keys[2]
    assert place_keys(np.array([[0.0, 180.0]])) == place_keys(np.array([[0.0, -180.0]]))
    assert Gallery(written[:1], "a").count_of(written[:2]) == 2
    assert Gallery(written, "a").distinct == 2


def test_places_a_micro_degree_apart_are_told_apart_everywhere():
    rng = np.random.default_rng(0)
    coordinates = sample_sphere(50_000, rng)
    keys = place_keys(coordinates)
    assert len(np.unique(keys)) == len(np.unique(np.round(coordinates, 6), axis=0))


def test_every_data_set_gallery_and_seed_is_a_row_and_an_oracle_is_named(cli, photos):
    images, metadata = photos(20)
    cli("datasets", "add", "mine", "--images", images, "--metadata", metadata)
    arguments = ("ceiling", "--datasets", "mine", "--galleries", f"land:50,20,{metadata}", "--training", "mine")
    rows = json.loads(cli(*arguments, "--seeds", "0,1", "--json").stdout)
    assert [(row["gallery"], row["seed"], row["oracle"]) for row in rows] == [
        ("land:50", 0, False),
        ("land:50", 1, False),
        ("training:20", 0, True),  # all of them: no seed draws anything
        (str(metadata), 0, True),
    ]
    assert rows[3]["acc_1km"] == 100 and rows[3]["in_gallery"] == 20
    shown = cli(*arguments).stdout
    assert "training:20 ORACLE" in shown and "land:50 ORACLE" not in shown and "20 (100.0 %)" in shown


def test_the_ceiling_of_a_checkpoint_draws_from_what_it_was_trained_on():
    spec = train("knn", "bluemarble", encoder="tiny", limit=200).spec
    (found,) = ceilings(["bluemarble"], ["150"], training=spec, limit=50).ceilings
    expected = get_gallery("150", train("knn", "bluemarble", encoder="tiny", limit=200).coordinates)
    assert (found.gallery, found.n, found.size) == ("training:150", 50, 150)
    assert found.scores == ceilings(["bluemarble"], ["150"], training=spec, limit=50).ceilings[0].scores
    assert found.distinct == expected.distinct


def test_a_gallery_that_cannot_be_made_leaves_the_others_and_exits_with_1(cli):
    done = cli("ceiling", "--datasets", "bluemarble,gws15k", "--galleries", "100k,land:50", "--limit", 20, exit_code=1)
    assert "land:50" in done.stdout
    assert "Failed: bluemarble × 100k: the gallery is drawn from training coordinates; name their data" in done.stderr
    assert "Failed: gws15k × land:50: gws15k is not on this machine" in done.stderr


def test_an_unknown_data_set_or_training_set_is_wrong_usage(cli):
    assert "unknown data set 'im2gps3'" in cli("ceiling", "--datasets", "im2gps3", exit_code=2).output
    with pytest.raises(UnknownNameError, match="unknown data set 'mp17'"):
        ceilings(["bluemarble"], ["100"], training="mp17")
