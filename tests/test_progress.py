import io

from geobench import progress as module
from geobench.progress import SILENT, ConsoleProgress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def lines(stream):
    return stream.getvalue().splitlines()


def test_library_functions_print_nothing_by_default(capsys):
    SILENT.say("hello")
    with SILENT.track("work", 3, "images") as advance:
        advance(1)
        advance(2, loss="0.5")
    assert capsys.readouterr() == ("", "")


def test_a_message_is_a_line():
    stream = io.StringIO()
    ConsoleProgress(stream).say("saved.")
    assert stream.getvalue() == "saved.\n"


def test_the_command_line_reports_on_standard_error(capsys):
    ConsoleProgress().say("saved.")
    assert capsys.readouterr() == ("", "saved.\n")


def test_without_a_terminal_a_short_task_is_silent():
    stream = io.StringIO()
    with ConsoleProgress(stream).track("work", 3, "images") as advance:
        advance(3)
    assert lines(stream) == []


def test_without_a_terminal_a_long_task_prints_lines_with_rate_and_time_left(monkeypatch):
    monkeypatch.setattr(module, "LOG_EVERY_S", 0.0)
    stream = io.StringIO()
    with ConsoleProgress(stream).track("features of mine", 4000, "images") as advance:
        advance(1000)
        advance(3000, failed="2")
    first, last = lines(stream)
    assert first.startswith("features of mine: 1,000 of 4,000 images, ")
    assert "/s, " in first
    assert first.endswith(" s left")
    assert last.startswith("features of mine: 4,000 of 4,000 images, ")
    assert last.endswith("/s, 0 s left, failed 2")


def test_rate_and_time_left_are_computed_from_this_run_alone(monkeypatch):
    times = iter([0.0, 20.0, 25.0, 40.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    stream = io.StringIO()
    with ConsoleProgress(stream).track("work", 1000, "images", done=500) as advance:
        advance(100)  # after 20 s: 100 images in 20 s are 5/s; 400 are left: 80 s
        advance(100)  # 5 s later: too soon for a line
        advance(300)  # after 40 s: 500 in 40 s
    assert lines(stream) == [
        "work: 600 of 1,000 images, 5/s, 80 s left",
        "work: 1,000 of 1,000 images, 12/s, 0 s left",
    ]


def test_on_a_terminal_a_bar_shows_the_task_its_progress_and_the_figures():
    stream = Terminal()
    with ConsoleProgress(stream).track("train knn", 10, "steps", done=4) as advance:
        assert "train knn" in stream.getvalue()
        assert "4/10" in stream.getvalue()
        for _ in range(6):
            advance(1, loss="0.123")
    shown = stream.getvalue()
    assert "steps" in shown
    assert "\n" not in shown  # the bar is erased at the end
