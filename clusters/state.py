"""Where logctl keeps its own files, and the contexts: which cluster a command talks to.

Follows the XDG folders. Must never hold secrets in files that others can read: everything is
written with mode 0600, whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from clusters.errors import StateError

APPLICATION = "logctl"


def _xdg(variable: str, default: str) -> str:
    # The XDG specification: relative values are to be ignored.
    value = os.environ.get(variable, "")
    base = value if os.path.isabs(value) else os.path.join(os.path.expanduser("~"), default)
    return os.path.join(base, APPLICATION)


def data_home() -> str:
    """Folder of data: XDG_DATA_HOME/logctl."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def state_home() -> str:
    """Folder of state, logs and pid files: XDG_STATE_HOME/logctl."""
    return _xdg("XDG_STATE_HOME", ".local/state")


def config_home() -> str:
    """Folder of configuration: XDG_CONFIG_HOME/logctl."""
    return _xdg("XDG_CONFIG_HOME", ".config")


def cluster_data_dir(cluster: str) -> str:
    """Data of a local cluster's brokers."""
    return os.path.join(data_home(), "clusters", cluster)


def cluster_state_dir(cluster: str) -> str:
    """Manifest, configuration files and logs of a cluster."""
    return os.path.join(state_home(), cluster)


def config_path() -> str:
    """The file that contexts are kept in."""
    return os.path.join(config_home(), "config.yaml")


def write_private(path: str, content: bytes) -> None:
    """Write a file whole or not at all, readable by its owner only. Raises OSError."""
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """A cluster that commands can talk to. `bootstrap` holds `host:port` texts."""

    name: str
    bootstrap: list[str]
    spec_path: str | None = None
    # Changes are refused.
    read_only: bool = False
    # The only cluster to talk to, when it is known.
    cluster_id: str | None = None
    # The name of a colour that the shell shows this cluster in.
    color: str | None = None
    # Kafka's client properties; secrets name sources, never values.
    properties: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data for output."""
        return {
            "name": self.name,
            "bootstrap": self.bootstrap,
            "spec": self.spec_path,
            "read_only": self.read_only,
            "cluster_id": self.cluster_id,
            "color": self.color,
            "properties": dict(self.properties),
            "secrets": dict(self.secrets),
        }


def contexts() -> dict[str, Context]:
    """Every saved context by name. Raises StateError when the file is unreadable or corrupt."""
    return dict(sorted(_contexts_of(_load_config()).items()))


def current_context() -> Context | None:
    """The context in use, or None when none is."""
    config = _load_config()
    current = config.get("current")
    return _contexts_of(config).get(current) if isinstance(current, str) else None


def save_context(context: Context, *, use: bool = False, whole: bool = False) -> None:
    """Add or replace a context, and make it the current one when `use` is set.

    What was saved besides addresses and file stays unless the context says otherwise, or is to
    be kept as a `whole`: a cluster that starts again keeps its colour and its protection.
    """
    config = _load_config()
    saved = config.setdefault("contexts", {})
    entry: dict[str, Any] = {} if whole else dict(saved.get(context.name) or {})
    for name in ("read_only", "cluster_id", "color"):
        if getattr(context, name):
            entry[name] = getattr(context, name)
    for name in ("properties", "secrets"):
        if getattr(context, name):
            entry[name] = dict(getattr(context, name))
    entry["bootstrap"] = list(context.bootstrap)
    entry.pop("spec", None)
    if context.spec_path is not None:
        entry["spec"] = context.spec_path
    saved[context.name] = entry
    if use:
        config["current"] = context.name
    _save_config(config)


def use_context(context: Context | str) -> Context:
    """Make a context current: a saved one by name, or a new one, which is saved.

    Raises StateError for a name that is not saved.
    """
    if isinstance(context, Context):
        save_context(context, use=True)
        return context
    saved = contexts()
    if context not in saved:
        from clusters.nearest import hint

        known = hint(context, saved) if saved else "none is saved"
        raise StateError(f'There is no context "{context}"; {known}')
    save_context(saved[context], use=True)
    return saved[context]


def remove_context(name: str) -> bool:
    """Forget a context; returns whether there was one."""
    config = _load_config()
    existed = config.get("contexts", {}).pop(name, None) is not None
    if config.get("current") == name:
        config.pop("current")
    elif not existed:
        return False
    _save_config(config)
    return existed


def config_section(name: str) -> dict[str, Any]:
    """One part of the configuration file besides the contexts, such as `aliases`; may be empty.

    Raises StateError when the file or the part is not what it should be.
    """
    found = _load_config().get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise StateError(f"{config_path()}: {name} must be a mapping of names to values")
    return found


def save_config_section(name: str, value: Mapping[str, Any]) -> None:
    """Replace one part of the configuration file; the rest stays as it is."""
    config = _load_config()
    config[name] = dict(value)
    _save_config(config)


def _load_config() -> dict[str, Any]:
    path = config_path()
    try:
        with open(path, "rb") as stream:
            config = yaml.safe_load(stream)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise StateError(
            f"{path} is not valid YAML: {reason}. Correct it or move it away."
        ) from None
    if config is None:
        return {}
    if not isinstance(config, dict) or not isinstance(config.get("contexts") or {}, dict):
        raise StateError(f"{path} is not what logctl writes; correct it or move it away")
    if config.get("contexts") is None:
        config["contexts"] = {}
    return config


def _contexts_of(config: Mapping[str, Any]) -> dict[str, Context]:
    found: dict[str, Context] = {}
    for name, entry in (config.get("contexts") or {}).items():
        bootstrap = entry.get("bootstrap") if isinstance(entry, dict) else None
        if not isinstance(bootstrap, list) or not all(isinstance(item, str) for item in bootstrap):
            raise StateError(
                f"{config_path()}: the context {name} has no list of bootstrap addresses"
            )
        spec = entry.get("spec")
        found[str(name)] = Context(
            name=str(name),
            bootstrap=list(bootstrap),
            spec_path=spec if isinstance(spec, str) else None,
            read_only=_protected(name, entry),
            cluster_id=_text(name, entry, "cluster_id"),
            color=_text(name, entry, "color"),
            properties=_texts(name, entry, "properties"),
            secrets=_texts(name, entry, "secrets"),
        )
    return found


def _protected(context: object, entry: Mapping[str, Any]) -> bool:
    value = entry.get("read_only", False)
    if not isinstance(value, bool):
        raise StateError(
            f"{config_path()}: read_only of the context {context} must be true or false"
        )
    return value


def _text(context: object, entry: Mapping[str, Any], name: str) -> str | None:
    value = entry.get(name)
    if value is not None and not isinstance(value, str):
        raise StateError(f"{config_path()}: {name} of the context {context} must be a text")
    return value


def _texts(context: object, entry: Mapping[str, Any], name: str) -> dict[str, str]:
    value = entry.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise StateError(
            f"{config_path()}: {name} of the context {context} must be a mapping of names to texts"
        )
    return {str(key): each for key, each in value.items()}


def _save_config(config: Mapping[str, Any]) -> None:
    path = config_path()
    content = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).encode()
    try:
        write_private(path, content)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from None


def read_json(path: str) -> dict[str, Any] | None:
    """A JSON object from a file; None when there is no file. Raises StateError when corrupt."""
    try:
        with open(path, "rb") as stream:
            value = json.load(stream)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise StateError(f"{path} is damaged: not JSON. Move it away and try again.") from None
    if not isinstance(value, dict):
        raise StateError(f"{path} is damaged: not a JSON object. Move it away and try again.")
    return value
