import pytest

from geobench import Dataset, DatasetError, get_datasets
from geobench.data.remote_files import sources_of


def a_set(*sources, **values):
    return Dataset("faraway", "Far away", status="available", sources=sources, **values)


def test_a_range_stands_for_as_many_files_in_the_digits_of_its_first_number():
    table = {"file": "{08..11}.zip", "urls": ["https://a.org/{08..11}.zip?x", "https://b.org/{08..11}"]}
    sources = sources_of(a_set(table))
    assert [source.file for source in sources] == ["08.zip", "09.zip", "10.zip", "11.zip"]
    assert sources[2].urls == ["https://a.org/10.zip?x", "https://b.org/10"]
    assert {source.pattern for source in sources} == {"{08..11}.zip"}


def test_a_split_brings_its_own_files_and_those_of_all():
    splits = {"train": {}, "test": {}}
    tables = [{"file": "a"}, {"file": "b", "split": "train"}, {"file": "c", "split": "test"}]
    dataset = a_set(*tables, splits=splits)
    assert [source.file for source in sources_of(dataset, "test")] == ["a", "c"]
    assert [source.file for source in sources_of(dataset)] == ["a", "b", "c"]
    with pytest.raises(DatasetError, match="faraway has no val split; it has train, test"):
        sources_of(dataset, "val")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"url": "https://a.org"}, r"unknown keys \['url'\] or no file; keys are file, what, urls"),
        ({"urls": ["https://a.org"]}, "or no file"),
        ({"file": "../a"}, r"'\.\./a', which leads outside"),
        ({"file": "/a"}, "leads outside"),
        ({"file": "a", "unpack": "b/../../c"}, "leads outside"),
        ({"file": "C:a"}, "leads outside"),
        ({"file": "a", "urls": ["ftp://a.org/a"]}, "an address that is not http or https"),
        ({"file": "a", "urls": ["file:///etc/passwd"]}, "an address that is not http or https"),
        ({"file": "a", "sha256": "abc"}, "a sha256 that is not 64 digits"),
        ({"file": "a", "urls": ["https://[a.org/"]}, "is no address"),
        ({"file": "a", "urls": "https://a.org"}, "of a: urls must be a list, not 'https://a.org'"),
        ({"file": "a", "size": "12"}, "of a: size must be a whole number, not '12'"),
        (
            {"file": "a", "token": "AWS_SECRET_ACCESS_KEY"},
            "token must name an environment variable that ends in _TOKEN",
        ),
        ({"file": "a", "token": "A_TOKEN", "urls": ["http://a.org/a"]}, "urls must be https where a token is sent"),
    ],
)
def test_a_definition_that_does_not_fit_is_one_line(table, told):
    with pytest.raises(DatasetError, match=told):
        sources_of(a_set(table))


def test_a_definition_whose_sources_do_not_fit_is_left_out_with_a_warning(cli, own_home):
    path = own_home / "data" / "faraway" / "dataset.toml"
    path.parent.mkdir(parents=True)
    path.write_text('name = "faraway"\ntitle = "Far away"\n[[sources]]\nfile = "a.zip"\ntoken = "HOME"\n')
    told = cli("datasets", "list").stderr
    assert f"faraway is left out: {path}: [[sources]] of a.zip: token must name" in told


BUNDLED = ("bluemarble", "gws15k", "im2gps", "im2gps3k", "mp16", "osv5m", "shadedrelief", "yfcc26k", "yfcc4k")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_definition_states_its_status_and_how_to_get_it(name):
    dataset = get_datasets()[name]
    sources = sources_of(dataset)
    assert dataset.licence and dataset.citation
    if dataset.status == "embedded":
        assert not sources
        return
    assert dataset.obtain
    if dataset.status in ("withdrawn", "never-released"):
        assert not sources
        assert f"geobench datasets add {name}-rebuilt" in dataset.obtain
        return
    assert all(source.urls or source.page for source in sources)
    assert all(len(set(source.urls)) == len(source.urls) for source in sources)
    places = [source.file for source in sources]
    assert len(set(places)) == len(places)
    for split in dataset.splits.values():
        assert split.get("metadata", "metadata.csv") in places
    if dataset.status == "gated":
        assert all(source.token and source.page for source in sources)
        assert all(source.token in dataset.obtain and source.page in dataset.obtain for source in sources)


def test_the_archives_of_the_large_sets_are_all_named():
    names = {name: [source.file for source in sources_of(get_datasets()[name])] for name in ("osv5m", "mp16")}
    assert sum(name.startswith("images/train/") for name in names["osv5m"]) == 98
    assert sum(name.startswith("images/test/") for name in names["osv5m"]) == 5
    assert [name for name in names["mp16"] if name.startswith("images/")][-1] == "images/mp-16-images18"
