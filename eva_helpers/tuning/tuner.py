"""A training in its own thread, whose loss weights can be changed between two steps."""

import atexit
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from weakref import WeakValueDictionary

from torch import Tensor

from eva_helpers.evaluation.scoring import Batch
from eva_helpers.files import InputError, make_folder
from eva_helpers.losses import LossWeights
from eva_helpers.model import inference, load_weights, save_weights
from eva_helpers.training import Trainer
from eva_helpers.tuning.gradients import encoder_conflict
from eva_helpers.tuning.memory import Memory, write_tries
from eva_helpers.tuning.pace import Pace
from eva_helpers.tuning.weights_json import SLIDERS, changed, write_weights

ACTIVE = ("running", "paused")
POLL = 0.02  # s
GAUGE = (10.0, 0.04)  # the gradients are measured every 10 s, in at most this share of the time
_tuners: WeakValueDictionary[Path, "Tuner"] = WeakValueDictionary()  # the last one of each folder


class Stopped(Exception):  # noqa: N818 - not an error
    """Ends a training from within its step."""


class Tuner:
    """A training in its own thread; changed loss weights apply from the next step on.

    `examples` are a batch of fixed validation samples to look at. `state` is "ready", "running",
    "paused", "stopped", "finished" or "failed"; `error` is what ended a failed training. `record`
    has a row per step: raw terms, learning rate (`lr`), the weights at that time, and where the
    pace of `gauge` allows it, what `gradients.conflict` measures. `memory` keeps what was tried;
    whenever a weighting ends, and in a pause, its scores and picture are computed.
    """

    def __init__(self, trainer: Trainer, examples: Batch) -> None:
        self.trainer = trainer
        self.examples = examples
        self.gauge = Pace(*GAUGE)
        self.memory = Memory()
        self.state = "ready"
        self.error: Exception | None = None
        self.record: list[dict[str, float]] = []
        self._requests: set[str] = set()  # "pause", "reset", "stop": what the thread shall do
        self._thread: threading.Thread | None = None
        self._measured: dict[str, float] = {}  # what the row of the current step gets

    def start(self) -> None:
        """Begin, or go on after a pause or a stop; what is running goes on.

        InputError: another runs in this folder, or all epochs are trained."""
        if self.state in ACTIVE:
            self._requests.discard("pause")
            return
        folder = self.trainer.folder.resolve()
        other = _tuners.get(folder)
        if other and other.state in ACTIVE:
            raise InputError(f"a training is running in {folder}: stop it before you start one.")
        if self.state == "finished":
            raise InputError(f"{folder} has all its epochs: make a new trainer to go on.")
        _tuners[folder] = self
        self.error = None
        self._requests.clear()
        self.state = "running"
        self._thread = threading.Thread(target=self._work, name="tuner", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Halt after the current step; weights may be changed meanwhile, and nothing is lost."""
        self._requests.add("pause")

    def stop(self, timeout: float = 60.0) -> None:
        """End after the current step; the averaged weights are kept as `last.safetensors`."""
        self._requests.add("stop")
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def reset(self) -> None:
        """Return to the best checkpoint, after the current step. InputError: there is none."""
        if not (self.trainer.folder / "best.safetensors").exists():
            raise InputError(f"{self.trainer.folder} has no checkpoint yet: train an epoch first.")
        if self.state in ACTIVE:
            self._requests.add("reset")
        else:
            self._load_best()

    def set_weights(self, **changes: float) -> LossWeights:
        """Replace some loss weights; returns all of them. Raises InputError as `changed`."""
        weights = changed(self.trainer.weights, **changes)
        if weights != self.trainer.weights:
            self.memory.leave(self.trainer.weights)
        self.trainer.weights = weights
        return weights

    def undo(self) -> LossWeights:
        """Back to the weighting before, and again further back. InputError: there is none."""
        self.trainer.weights = self.memory.undo(self.trainer.weights)
        return self.trainer.weights

    def save(self, folder: str | Path) -> list[Path]:
        """Write network, weights and memory: `tuned.safetensors`, `tuned.json`, `tuned-tries.json`.

        Where there are such files, `tuned-2` ... are written.
        """
        path = make_folder(Path(folder)) / "tuned.safetensors"
        number = 1
        while path.exists():
            number += 1
            path = path.with_stem(f"tuned-{number}")
        save_weights(self.trainer.averaged_net, path)
        tries = write_tries(path.with_name(f"{path.stem}-tries.json"), self.memory.tries)
        return [path, write_weights(path.with_suffix(".json"), self.trainer.weights), tries]

    def predictions(self) -> tuple[Tensor, Tensor]:
        """Mask probability and depth of the examples by the averaged network, (B, 1, H, W)."""
        predict = inference(self.trainer.averaged_net, self.trainer.accelerator.device)
        return predict(self.examples["background"], self.examples["image"])

    def wait(self, steps: int, timeout: float = 600.0) -> None:
        """Block until so many more steps are done or the training has ended.

        Raises what ended a failed training, or TimeoutError.
        """
        goal = len(self.record) + steps
        self._wait_for(lambda: len(self.record) >= goal, timeout)

    def wait_until(self, state: str, timeout: float = 600.0) -> None:
        """Block until the training is in `state` and no reset is pending; otherwise as `wait`."""
        self._wait_for(lambda: self.state == state and "reset" not in self._requests, timeout)

    def _wait_for(self, reached: Callable[[], bool], timeout: float) -> None:
        end = time.monotonic() + timeout
        while self.state in ACTIVE and not reached():
            if time.monotonic() > end:
                raise TimeoutError(f"waited {timeout:.0f} s; the training is {self.state}.")
            time.sleep(POLL)
        if self.error:
            raise self.error

    def _work(self) -> None:
        """What the thread does."""
        state = "finished"
        self.trainer.on_loss = self._on_loss
        try:
            self.trainer.fit(on_step=self._after_step)
            self._settle()
        except Stopped:
            state = "stopped"
        except Exception as error:
            with suppress(Exception):  # the network itself may be what failed
                self._settle()
            self.memory.begin(self.trainer.weights).failed = f"{type(error).__name__}: {error}"
            self.error = error
            state = "failed"
        self.trainer.on_loss = None
        self.state = state

    def _on_loss(self, loss: Tensor, terms: dict[str, Tensor]) -> None:
        """Between loss and update: note what the step is made with; measure the gradients."""
        weights = self.trainer.weights
        if self.memory.current and self.memory.current.weights != weights:
            self._settle()
        self.memory.begin(weights)
        self._measured = {f"weight {name}": getattr(weights, name) for name in SLIDERS}
        self._measured["lr"] = self.trainer.optimizer.param_groups[0]["lr"]
        if self.gauge.due():
            with self.gauge.work():
                self._measured |= encoder_conflict(self.trainer, loss, terms)

    def _after_step(self, step: int, terms: dict[str, float]) -> None:
        """Record the step; then carry out what was requested meanwhile."""
        self.record.append({"step": step} | terms | self._measured)
        self.memory.add(self.record[-1])
        while self._requests:
            self._answer()
        self.state = "running"

    def _answer(self) -> None:
        """Reset, stop, or pause until there is another request or none."""
        if "reset" in self._requests:
            self._load_best()
            self._requests.remove("reset")
        elif "stop" in self._requests:
            save_weights(self.trainer.averaged_net, self.trainer.folder / "last.safetensors")
            self._settle()
            raise Stopped
        elif self.state == "running":
            self._settle()
            self.state = "paused"
        else:
            time.sleep(POLL)

    def _settle(self) -> None:
        """Keep scores and picture of the network as it is now with the weighting in force."""
        entry = self.memory.current
        if entry and entry.counts and not entry.failed:
            entry.settle(self.trainer, self.examples)

    def _load_best(self) -> None:
        best = load_weights(self.trainer.folder / "best.safetensors").state_dict()
        self.trainer.accelerator.unwrap_model(self.trainer.net).load_state_dict(best)
        self.trainer.averaged_net.load_state_dict(best)


def stop_others(kept: Tuner | None, timeout: float = 60.0) -> list[Path]:
    """Stop all trainings but `kept`, e.g. of a cell that was run again; returns their folders."""
    others = [each for each in _tuners.values() if each.state in ACTIVE and each is not kept]
    for other in others:
        other.stop(timeout)
    return [other.trainer.folder for other in others]


atexit.register(stop_others, None, 10.0)
