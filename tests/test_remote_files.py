import pytest

from geobench import Dataset, DatasetError, get_datasets
from geobench.data.remote_files import RemoteFile, remote_files


def a_set(*sources, **values):
    return Dataset("faraway", "Far away", status="available", sources=sources, **values)


def test_a_range_stands_for_as_many_files_in_the_digits_of_its_first_number():
    table = {"file": "{08..11}.zip", "urls": ["https://a.org/{08..11}.zip?x", "https://b.org/{08..11}"]}
    sources = remote_files(a_set(table))
    assert [source.file for source in sources] == ["08.zip", "09.zip", "10.zip", "11.zip"]
    assert sources[2].urls == ["https://a.org/10.zip?x", "https://b.org/10"]
    assert {source.pattern for source in sources} == {"{08..11}.zip"}


def test_a_split_brings_its_own_files_and_those_of_all():
    splits = {"train": {}, "test": {}}
    tables = [{"file": "a"}, {"file": "b", "split": "train"}, {"file": "c", "split": "test"}]
    dataset = a_set(*tables, splits=splits)
    assert [source.file for source in remote_files(dataset, "test")] == ["a", "c"]
    assert [source.file for source in remote_files(dataset)] == ["a", "b", "c"]
    with pytest.raises(DatasetError, match="faraway has no val split; it has train, test"):
        remote_files(dataset, "val")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"file": "a", "url": "https://a.org"}, "sources[1]: unknown key 'url'; did you mean urls?"),
        ({"file": "a", "pattern": "b"}, "sources[1]: unknown key 'pattern'; did you mean page or token?"),
        ({"urls": ["https://a.org"]}, "sources[1]: the key file is missing."),
        ({"file": ""}, "sources[1]: file is empty; name the file's place in the folder of the data set."),
        ({"file": "../a"}, "sources[1]: '../a' leads outside the folder of the data set."),
        ({"file": "/a"}, "sources[1]: '/a' leads outside the folder of the data set."),
        ({"file": "a", "unpack": "b/../../c"}, "sources[1]: 'b/../../c' leads outside the folder of the data set."),
        ({"file": "C:a"}, "sources[1]: 'C:a' leads outside the folder of the data set."),
        ({"file": "a", "urls": ["ftp://a.org/a"]}, "sources[1]: urls must be http or https, not 'ftp://a.org/a'."),
        ({"file": "a", "urls": ["file:///etc/passwd"]}, "sources[1]: urls must be http or https, not 'file:///etc/pa"),
        ({"file": "a", "urls": ["https://[a.org/"]}, "sources[1]: urls has 'https://[a.org/', which is not an address"),
        ({"file": "a", "urls": "https://a.org"}, "sources[1].urls must be a list of strings, not 'https://a.org'."),
        ({"file": "a", "urls": [3]}, "sources[1].urls[1] must be a string, not 3."),
        ({"file": "a", "size": "12"}, "sources[1].size must be an integer of at least 0, not '12'."),
        ({"file": "a", "size": True}, "sources[1].size must be an integer of at least 0, not True."),
        ({"file": "a", "about": 1.5}, "sources[1].about must be an integer of at least 0, not 1.5."),
        ({"file": "a", "sha256": "abc"}, "sources[1]: sha256 must be 64 digits 0-9a-f, not 'abc'."),
        (
            {"file": "a", "token": "AWS_SECRET_ACCESS_KEY"},
            "sources[1]: token must name an environment variable that ends in _TOKEN, not 'AWS_SECRET_ACCESS_KEY'.",
        ),
        (
            {"file": "a", "token": "A_TOKEN", "urls": ["http://a.org/a"]},
            "sources[1]: urls must be https if a token is sent, not 'http://a.org/a'.",
        ),
    ],
)
def test_a_source_that_does_not_fit_is_one_line(table, line):
    with pytest.raises(DatasetError) as caught:
        a_set(table)
    assert str(caught.value).startswith(f"Dataset: {line}")


def test_a_file_made_in_python_is_checked_as_well():
    with pytest.raises(DatasetError, match=r"^RemoteFile: '/a' leads outside the folder of the data set\."):
        RemoteFile("/a")
    assert a_set(RemoteFile("a")).sources == (RemoteFile("a"),)


def test_a_definition_whose_sources_do_not_fit_is_left_out_with_a_warning(cli, own_home):
    path = own_home / "data" / "faraway" / "dataset.toml"
    path.parent.mkdir(parents=True)
    path.write_text('name = "faraway"\ntitle = "Far away"\n[[sources]]\nfile = "a.zip"\ntoken = "HOME"\n')
    told = cli("datasets", "list").stderr
    assert f"faraway is skipped: {path}: sources[1]: token must name" in told


BUNDLED = ("bluemarble", "gws15k", "im2gps", "im2gps3k", "mp16", "osv5m", "shadedrelief", "yfcc26k", "yfcc4k")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_definition_states_its_status_and_how_to_get_it(name):
    dataset = get_datasets()[name]
    sources = remote_files(dataset)
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
    names = {name: [source.file for source in remote_files(get_datasets()[name])] for name in ("osv5m", "mp16")}
    assert sum(name.startswith("images/train/") for name in names["osv5m"]) == 98
    assert sum(name.startswith("images/test/") for name in names["osv5m"]) == 5
    assert [name for name in names["mp16"] if name.startswith("images/")][-1] == "images/mp-16-images18"
