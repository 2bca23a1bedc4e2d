"""What the dashboard is given of a session: the colour, its commands, and its context once more."""

import io

import pytest

from clusters import state
from shell.commander import target
from shell.output import Output
from shell.session import Doors, Session
from shell.settings import Settings

SAVED = """\
contexts:
  prod: {bootstrap: ['127.0.0.1:1'], color: red}
  test: {bootstrap: ['127.0.0.1:2']}
current: CURRENT
"""


@pytest.fixture
def save(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "logctl").mkdir()

    def write(current: str, port: int = 1) -> None:
        text = SAVED.replace("CURRENT", current).replace("0.1:1", f"0.1:{port}")
        (tmp_path / "logctl" / "config.yaml").write_text(text, encoding="utf-8")

    write("prod")
    return write


def session(**settings: object) -> Session:
    return Session(Settings(**settings), Output(io.BytesIO(), io.StringIO()), Doors())


def test_a_context_is_made_anew_by_its_name_whichever_is_current(save) -> None:
    made = target(session())
    assert (made.name, made.color, made.saved) == ("prod", "red", state.contexts()["prod"])
    assert made.commander.shown(["topic", "list"]) == "logctl --context prod topic list"
    save("test", port=9)
    again = made.again()
    assert (again.name, list(again.bootstrap)) == ("prod", ["127.0.0.1:9"])


def test_addresses_alone_have_no_context_to_look_at(save) -> None:
    made = target(session(bootstrap=("127.0.0.1:3",)))
    assert (made.color, made.saved, made.again) == (None, None, None)


def test_what_is_asked_to_be_read_only_is_told_to_its_commands(save) -> None:
    made = target(session(read_only=True))
    assert made.read_only
    shown = made.commander.shown(["topic", "delete", "orders"])
    assert shown == "logctl --context prod --read-only topic delete orders"
