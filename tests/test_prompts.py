"""Prompts are files: what is sent has a digest, and a user's own is checked."""

import pytest

from geobench import SettingError, UnknownNameError
from geobench.words.parsers import get_parser
from geobench.words.prompts import load_prompt, prompt_names

OWN = """
name = "mine"
version = 1
parser = "lat-lon"
user = "Where is this?"
[protocol]
source = "me"
"""


@pytest.fixture
def own(tmp_path):
    """Return a function that writes a prompt with ``changes`` in place of lines, and loads it."""

    def write(old="", new=""):
        path = tmp_path / "mine.toml"
        path.write_text(OWN.replace(old, new), encoding="utf-8")
        return load_prompt(path)

    return write


@pytest.mark.parametrize("name", prompt_names())
def test_a_prompt_states_its_source_and_its_protocol(name):
    prompt = load_prompt(name)
    assert prompt.name == name, "the file is called like the prompt"
    assert {"source", "temperature", "samples", "refusals", "unparseable"} <= prompt.protocol.keys()
    assert get_parser(prompt.parser).label.startswith(prompt.parser)
    assert prompt.samples == int(prompt.protocol["samples"])


def test_the_forms_that_papers_use_are_there():
    assert {"json", "globe", "globe-direct", "lat-lon", "free", "img2loc", "candidates"} <= {*prompt_names()}


def test_published_prompts_are_sent_as_they_were():
    globe = load_prompt("globe")
    assert globe.system == "You are a helpful assistant." and globe.image_first
    assert globe.user.endswith(
        "You MUST output the thinking process in <think> </think> and give answer in <answer> </answer> tags."
    )
    assert (globe.temperature, globe.max_tokens) == (0.1, 512)
    assert globe.parameters == {"frequency_penalty": 0.7, "presence_penalty": 0.7}
    assert load_prompt("img2loc").temperature is None, "theirs is the endpoint's own"


def test_the_schema_of_the_json_prompt_is_what_its_parser_reads():
    schema = load_prompt("json").schema
    assert schema["required"] == list(schema["properties"]), "an endpoint that enforces it wants every key"
    example = (
        '{"latitude": 1.5, "longitude": 2.5, "country": "Peru", "region": "Puno", "city": "Ilave", "confidence": 0.5}'
    )
    claim = get_parser("json")(example)
    assert all(value for name, value in vars(claim).items() if name in ("coordinates", "country", "region", "city"))
    assert claim.confidence == 0.5


def test_the_digest_changes_with_what_is_sent_and_with_nothing_else(own):
    same = own().digest
    assert same == own().digest and len(same) == 16
    for old, new in (
        ("Where is this?", "Where is that?"),
        ("version = 1", 'version = 1\nsystem = "You know."'),
        ("version = 1", "version = 1\ntemperature = 0.5"),
        ("version = 1", "version = 1\nmax_tokens = 5"),
        ("version = 1", "version = 1\nimage_first = true"),
        ("[protocol]", "[schema]\ntype = 'object'\n[protocol]"),
        ("[protocol]", "[parameters]\ntop_p = 0.5\n[protocol]"),
    ):
        assert own(old, new).digest != same, new
    for old, new in (("lat-lon", "free"), ('"mine"', '"yours"'), ("version = 1", "version = 2"), ('"me"', '"you"')):
        assert own(old, new).digest == same, new
    assert own("version = 1", "version = 1\nsamples = 5").digest == same, "the same request, several times"


def test_what_a_prompt_leaves_open_is_filled_or_refused(own):
    prompt = own('"Where is this?"', """'Near {candidates}? Answer {"lat": 1}.'""")
    assert prompt.filled(candidates="1, 2")[1] == 'Near 1, 2? Answer {"lat": 1}.'
    with pytest.raises(SettingError, match="has a place for candidates, and there are none"):
        prompt.filled()
    with pytest.raises(SettingError, match=r"no place for candidates; write \{candidates\} into it"):
        own().filled(candidates="1, 2")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("parser", "praser", "mine.toml: unknown key 'praser'; did you mean parser"),
        ('parser = "lat-lon"', "", "mine.toml: the key parser is missing."),
        ("lat-lon", "latlon", "mine.toml: parser: unknown parser 'latlon'; did you mean lat-lon?"),
        ("version = 1", "version = 0", "mine.toml: version must be an integer of at least 1, not 0."),
        ("version = 1", 'version = 1\ntemperature = "hot"', "temperature must be a number of at least 0, not 'hot'."),
        ("version = 1", "version = 1\ntop_p = 0.5", "unknown key 'top_p'"),
        ("Where is this?", "", "user must be a non-empty string"),
        ("Where is this?", "Near {candidate}?", "unknown placeholder 'candidate'; did you mean candidates?"),
        ('source = "me"', "", "protocol: the key source is missing."),
        ('source = "me"', 'source = "me"\nrefusal = "x"', "protocol: unknown key 'refusal'; did you mean refusals?"),
        ('source = "me"', 'source = "me', "mine.toml is not a prompt"),
    ],
)
def test_a_prompt_that_is_none_is_refused_in_a_line(own, old, new, says):
    with pytest.raises(SettingError) as error:
        own(old, new)
    assert says in str(error.value)


def test_an_unknown_prompt_is_told_with_those_near_it(tmp_path):
    with pytest.raises(UnknownNameError, match="unknown prompt 'glob'; did you mean globe"):
        load_prompt("glob")
    with pytest.raises(SettingError, match="there is no such file; the prompts that come with geobench are candidates"):
        load_prompt(tmp_path / "none.toml")
