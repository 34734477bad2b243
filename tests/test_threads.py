"""The number of threads follows the time of the steps."""

import pytest
import torch

from eva_helpers.training import threads
from eva_helpers.training.threads import EVERY, TRIED, WARM, Threads, threads_of_this_process

CPU = torch.device("cpu")


class Machine:
    """A fake clock: a step takes `seconds[threads]`."""

    def __init__(self, most=2):
        self.now = 0.0
        self.seconds = {1: 1.6, most: 1.0}
        self.used = most
        self.threads = Threads(most, use=self.use, clock=lambda: self.now)

    def use(self, count):
        self.used = count

    def steps(self, count):
        """The threads used in each of so many steps."""
        used = []
        for _ in range(count):
            self.threads.next_step()
            used.append(self.used)
            self.now += self.seconds[self.used]
        return used


def test_the_faster_number_is_used_between_comparisons():
    machine = Machine()
    first = machine.steps(EVERY)
    assert first.count(1) == TRIED and set(first[-20:]) == {2}
    machine.seconds[2] = 3.0  # another program takes a core
    busy = machine.steps(4 * EVERY)
    assert set(busy[EVERY : EVERY + 20]) == {1} and machine.threads.used == 1
    machine.seconds[2] = 1.0
    assert set(machine.steps(4 * EVERY)[-20:]) == {2}


@pytest.mark.parametrize("slower", [1.0, 1.6, 2.0, 8.0, 50.0])
def test_comparing_costs_little(slower):
    machine = Machine()
    machine.seconds[1] = slower
    machine.steps(WARM + 2 * TRIED)
    steps = 20_000
    machine.now = 0.0
    machine.steps(steps)
    assert machine.now <= 1.03 * steps * 1.0


def test_one_slow_step_decides_nothing():
    machine = Machine()
    machine.steps(WARM + 3)
    machine.now += 60  # as when the state is saved
    assert set(machine.steps(EVERY)[10:80]) == {2}


def test_all_threads_are_used_after_the_training():
    machine = Machine()
    machine.seconds[2] = 5.0
    machine.steps(EVERY)
    assert machine.used == 1
    machine.threads.end()
    assert machine.used == 2


def test_a_user_who_has_chosen_is_left_alone(monkeypatch):
    for name in threads.CHOSEN_BY_USER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda pid: range(8), raising=False)
    now = [8]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[0])
    assert threads_of_this_process(CPU, 1).most == 8
    assert threads_of_this_process(CPU, 2).most == 1
    assert threads_of_this_process(torch.device("cuda"), 1).most == 1
    now[0] = 3
    assert threads_of_this_process(CPU, 1).most == 1, "torch.set_num_threads(3)"
    now[0] = 8
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert threads_of_this_process(CPU, 1).most == 1


@pytest.mark.parametrize("most", [1, 2])
def test_the_epoch_says_what_was_used(make_trainer, most):
    lines = []
    trainer = make_trainer(epochs=1)
    trainer.threads = Threads(most, use=lambda count: None)
    trainer.say = lines.append
    row = trainer.run_epoch()
    assert row.get("threads") == (2 if most == 2 else None)
    assert ("(2 threads)" in lines[0]) == (most == 2)
