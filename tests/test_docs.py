"""The documents say what the program does: generated parts, links, commands, code."""

import doctest
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch

from geobench.cli import main
from geobench.rounding import shown

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SET_UP = "pip install . && geobench demo"
TEST = "pip install '.[test]' && pytest -n auto"
HEAVY = {"pydantic", "torch", "open_clip", "timm", "pandas", "matplotlib"}


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text):
    """Return language and content of each fenced block of a document."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(command=main, path=("geobench",)):
    """Yield every command with the words that name it."""
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


def test_the_generated_parts_of_the_documents_are_up_to_date():
    generated = [path.relative_to(ROOT) for path in DOCUMENTS if "[[[cog" in path.read_text(encoding="utf-8")]
    assert len(generated) >= 3
    cog = [sys.executable, "-m", "cogapp", "--check", "-I", "docs", *generated]
    done = subprocess.run(cog, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: cog -r -I docs README.md docs/*.md"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_link_to_a_file_or_heading_leads_somewhere(document):
    text = document.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, heading = target.partition("#")
        assert target.startswith("https://") or (document.parent / path).exists(), target
        assert path or heading in headings, target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_a_file_of_this_repository_that_a_document_names_is_there(document):
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:geobench|plugins|datasets|tests|docs|results/published|\.ci)/[\w./*-]*)`", text)
    missing = [name for name in named if not list(ROOT.glob(name.rstrip("/")))]
    assert not missing


def test_every_option_of_every_command_is_in_the_reference():
    sections = re.split(r"^## ", read("docs/cli.md"), flags=re.MULTILINE)
    described = {section.partition("\n")[0]: section for section in sections[1:]}
    assert set(described) == {" ".join(path) for path, _ in commands()}
    for path, command in commands():
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else [parameter.human_readable_name]:
                assert option in described[" ".join(path)], (path, option)


def test_every_option_has_a_help_text():
    for path, command in commands():
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (path, parameter.name)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_in_a_document_parse(document):
    text = document.read_text(encoding="utf-8").replace("\\\n", " ")  # a command may go on in the next line
    lines = [line.strip() for _, block in blocks(text) for line in block.splitlines()]
    for line in lines:
        if line.startswith("geobench "):
            command, words = main, shlex.split(line, comments=True)[1:]
            while isinstance(command, click.Group) and words and words[0] in command.commands:
                command, words = command.commands[words[0]], words[1:]
            command.make_context(line, words)  # raises UsageError


def test_the_readme_has_exactly_the_two_set_up_commands():
    text = read("README.md")
    assert [line for line in text.splitlines() if "pip install" in line] == [SET_UP, TEST]
    assert f"<!-- test-command -->\n```text\n{TEST}\n```\n" in text
    for command in (
        "geobench train geoclip",
        "geobench run --models geoclip,classifier --datasets gws15k",
        "geobench report --format markdown",
    ):
        assert f"\n{command}\n" in text


def test_the_python_of_the_readme_runs():
    assert any(language == "python" for language, _ in blocks(read("README.md")))
    for language, block in blocks(read("README.md")):
        assert language != "python" or block.startswith(">>> ")  # so that doctest sees it
    readme = str(ROOT / "README.md")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine threads wait for each other
    try:
        failed, tried = doctest.testfile(readme, module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8")
    finally:
        torch.set_num_threads(before)
    assert failed == 0 and tried > 10


def test_importing_the_command_line_loads_nothing_heavy():
    code = "import sys, geobench, geobench.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "geobench" in loaded and not loaded & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["models"], ["encoders"], ["plugins"]])
def test_a_command_that_computes_nothing_does_not_load_torch(arguments):
    run = f"geobench.cli.main({arguments}, standalone_mode=False)"
    code = f"import sys, geobench.cli; {run}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def git(*arguments):
    """Return the lines that git prints in the checkout; skip where there is none."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # git grep exits with 1 where it finds nothing
    return done.stdout.splitlines()


def test_no_committed_file_names_a_path_of_somebodys_machine():
    folders = r"(home|root|work|tmp|mnt|Users|private|scratch)"
    assert git("grep", "-nIP", rf"(?<![\w.~/-])/{folders}/[\w.]") == []
    assert git("grep", "-nIF", f"{sys.prefix}{os.sep}") == []


def test_no_committed_file_is_large_or_a_photo():
    listed = [ROOT / name for name in git("ls-files")]
    large = [path.name for path in listed if path.is_file() and path.stat().st_size > 500_000]
    assert not large
    assert not [
        path for path in listed if path.suffix.lower() in {".jpg", ".jpeg", ".pt", ".pth", ".safetensors", ".npy"}
    ]


def test_the_checks_of_ci_are_a_script_that_bash_reads_and_the_readme_feeds():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    extract = re.search(r"^test_command=\$\((awk .*)\)$", script.read_text(encoding="utf-8"), re.MULTILINE)[1]
    done = subprocess.run(["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == TEST


def test_the_tables_of_the_readme_hold_the_figures_of_the_records():
    folder = ROOT / "results/reference/bluemarble-demo"
    lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        spec = f"| {record['model']}@{record['checkpoint']} "
        rows = [line for line in lines if line.startswith(spec) and record["gallery"] in line]
        assert any(
            all(f" {shown(value, 1)}" in row.replace("**", " ") for value in accuracies(record)) for row in rows
        ), path


def accuracies(record):
    return [value for name, value in record["scores"].items() if name.startswith("acc_")]
