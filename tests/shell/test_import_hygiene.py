"""One-shot commands stay fast because they load nothing that they do not use."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "aiokafka",
    "asyncssh",
    "broker",
    "clusters",
    "kio",
    "prompt_toolkit",
    "pydantic",
    "rich",
    "textual",
    "tui",
    "yaml",
]


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_loading_the_command_line_loads_nothing_heavy():
    assert loaded_after("import shell.main").isdisjoint(HEAVY)


def test_parsing_and_help_load_nothing_heavy():
    statement = "import shell.main; shell.main.main(['topic', 'create', '--help'])"
    assert loaded_after(statement).isdisjoint(HEAVY)


def test_a_json_answer_loads_no_tables_prompt_or_client_library():
    statement = (
        "import os; os.environ['XDG_CONFIG_HOME'] = '/nonexistent'\n"
        "import shell.main; shell.main.main(['context', 'list', '--format', 'json'])"
    )
    loaded = loaded_after(statement)
    assert loaded.isdisjoint({"aiokafka", "prompt_toolkit", "rich", "textual", "tui"})


def test_asking_a_cluster_loads_no_client_library_prompt_or_screen():
    words = ["topic", "list", "--bootstrap", "127.0.0.1:1", "--timeout", "1s"]
    loaded = loaded_after(f"import shell.main; shell.main.main({words!r})")
    assert "clusters" in loaded
    heavy = {"aiokafka", "asyncssh", "hypothesis", "prompt_toolkit", "psutil", "pydantic"}
    heavy |= {"rich", "textual"}
    assert loaded.isdisjoint(heavy)


@pytest.mark.parametrize(
    ("words", "modules_max"),
    [
        (["topic", "create", "--help"], 230),
        (["context", "list"], 270),
        (["topic", "list", "--bootstrap", "127.0.0.1:1", "--timeout", "1s"], 300),
        (["group", "list", "--bootstrap", "127.0.0.1:1", "--timeout", "1s"], 300),
        (["query", "partitions", "--bootstrap", "127.0.0.1:1", "--timeout", "1s"], 320),
    ],
)
def test_a_command_loads_no_more_modules_than_it_needs(words, modules_max):
    # The time that a command takes is the time that it loads: see docs/performance.md.
    code = f"import sys, shell.main\nshell.main.main({words!r})\nprint(len(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert int(done.stdout.splitlines()[-1]) <= modules_max


def test_a_condition_that_asks_loads_nothing_that_follows_the_log():
    words = ["query", "partitions", "--bootstrap", "127.0.0.1:1", "--timeout", "1s"]
    code = f"import sys, shell.main\nshell.main.main({words!r})\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "clusters.query" in loaded
    assert loaded.isdisjoint({"clusters.watch.feed", "clusters.watch.projector"})


def test_the_dashboard_loads_what_its_first_picture_needs():
    # A wall clock would flake; what is loaded is what the start takes.
    heavy = {"aiokafka", "asyncssh", "crc32c", "prompt_toolkit", "psutil", "pydantic", "pygments"}
    code = "import sys, tui.app\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint({*heavy, "importlib.metadata", "markdown_it", "yaml"})


def test_records_and_answers_that_are_not_met_are_not_made_into_dataclasses():
    code = (
        "import dataclasses\n"
        "made, make = set(), dataclasses._process_class\n"
        "def count(cls, *a, **k):\n"
        "    made.add((cls.__module__, cls.__qualname__))\n"
        "    return make(cls, *a, **k)\n"
        "dataclasses._process_class = count\n"
        "import broker.protocol.metadata_records, broker.protocol.image, clusters.admin.model\n"
        "print(sum(m.endswith(('metadata_records', 'image', 'model')) for m, _ in made))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    # Fifty classes are in these modules; constants of theirs need one or two at once.
    assert int(done.stdout.splitlines()[-1]) <= 5
