"""The folder of a training: settings, history, weights, and the state to resume from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eva_helpers import __version__, files
from eva_helpers.partials import remove_partials
from eva_helpers.schemas import Count, checked
from eva_helpers.training.checkpoint import STATE, Contents, read_state, write_state

PROGRESS = "progress.json"
BEST = "best.safetensors"
REMEDY = "resume with the same settings, or choose another folder"


class RunFolder:
    """A folder that belongs to one training with certain `settings`.

    `state` holds the files to resume from, None in a new training. History and weights beside it
    are copies: they are written after it, and again on resuming.

    Raises:
        InputError: the folder cannot be written; it holds a training and `resume` is False; or one
            with other settings, or with damaged files.
    """

    def __init__(
        self, path: Path, settings: dict[str, Any], resume: bool, say: Callable[[str], None]
    ) -> None:
        self.path = files.writable_folder(path)
        self.settings = settings
        config = self.path / "config.json"
        if not resume and (config.exists() or (self.path / STATE).exists()):
            remedy = "choose another folder, or pass resume=True to continue it"
            raise files.InputError(f"{self.path} already holds a training: {remedy}.")
        remove_partials(self.path, "*.json", "*.jsonl", "*.safetensors")
        self.state = read_state(self.path, say) if resume else None
        known = config if config.exists() or not self.state else self.path / STATE / PROGRESS
        # epochs and steps of each, where a limit of minutes was fitted to the speed
        self.plan: list[int] | None = None
        if files.same_settings(known, _asked(settings, known), REMEDY):
            plan = files.read_json(known).get("plan")
            self.plan = checked(list[Count] | None, plan, f"{known}: plan")
        else:
            self.write_config()

    def write_config(self) -> None:
        """Record settings and plan."""
        values = self.settings | {"plan": self.plan, "version": __version__}
        files.write_json(self.path / "config.json", values)

    def save(self, progress: dict[str, Any], training: bytes, best: bytes, last: bytes) -> None:
        """Write the state, then history and weights; `progress` holds the `history`.

        `best` is empty before the first epoch has ended.
        """
        values = self.settings | {"plan": self.plan, "version": __version__} | progress
        text = json.dumps(values, indent=1, allow_nan=False)
        contents = {PROGRESS: text.encode(), "training.pt": training}
        contents |= {BEST: best} if best else {}
        write_state(self.path, contents)
        self.publish(contents, last)

    def publish(self, contents: Contents, last: bytes) -> None:
        """Let the history and the weights beside the state be those of the state."""
        history = json.loads(contents[PROGRESS])["history"]
        lines = "".join(json.dumps(row, allow_nan=False) + "\n" for row in history)
        outputs = {"history.jsonl": lines.encode(), "last.safetensors": last}
        outputs |= {BEST: contents[BEST]} if BEST in contents else {}
        for name, data in outputs.items():
            files.write_whole(self.path / name, data)


def _asked(settings: dict[str, Any], record: Path) -> dict[str, Any]:
    """`settings` without weights of 0 for terms of which the `record` does not know."""
    known = files.read_json(record, "a settings file") if record.exists() else {}
    if not isinstance(known, dict):
        return settings  # `same_settings` refuses the record
    return {
        name: value
        for name, value in settings.items()
        if name in known or not name.startswith("weight ") or value
    }


def claim(record: Path, settings: dict[str, Any]) -> None:
    """Write `settings` to `record`, which says what its folder holds.

    Raises:
        InputError: it records other settings, or cannot be written.
    """
    files.same_settings(record, settings, "choose another folder")
    files.write_json(files.make_folder(record.parent) / record.name, settings)
