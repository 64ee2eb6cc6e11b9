from types import SimpleNamespace

import pytest

from synrl_ray.errors import NonFiniteError, UserError
from synrl_ray.sampling import faults as module
from synrl_ray.sampling.failures import FailureCount
from synrl_ray.sampling.faults import LOSSES_IN_A_ROW, Faults, call_runners, require_runners


class Group:
    """RLlib's group as far as it is used: runner n dies in those calls, and comes back when it is probed."""

    def __init__(self, runners=2, dies=(), comes_back=True):
        self.runners = [SimpleNamespace(worker_index=n + 1, failures=FailureCount("e", 0.1)) for n in range(runners)]
        for n, runner in enumerate(self.runners):
            runner.sample, runner.get_metrics = (lambda n=n: f"rollout {n + 1}"), (lambda: "metrics")
        self.local = SimpleNamespace(
            worker_index=0, failures=FailureCount("e", 0.1), sample=lambda: "local rollout", get_metrics=lambda: "m"
        )
        self.healthy = set(range(1, runners + 1))
        self.dies, self.comes_back, self.calls = list(dies), comes_back, 0
        self.probes = []

    def num_remote_env_runners(self):
        return len(self.runners)

    def num_healthy_remote_workers(self):
        return len(self.healthy)

    def foreach_env_runner(self, function, *, local_env_runner, remote_worker_ids=None):
        self.calls += 1
        self.healthy -= self.dies.pop(0) if self.dies else set()
        chosen = self.healthy if remote_worker_ids is None else self.healthy & set(remote_worker_ids)
        local = [function(self.local)] if local_env_runner else []
        return local + [function(runner) for runner in self.runners if runner.worker_index in chosen]

    def probe_unhealthy_env_runners(self, timeout_seconds):
        self.probes.append(timeout_seconds)
        back = [r.worker_index for r in self.runners if r.worker_index not in self.healthy] if self.comes_back else []
        self.healthy |= set(back)
        return back


def test_all_runners_sample_and_the_local_one_only_without_others():
    results = Faults("e", 0.1).sample(Group())
    assert results == [("rollout 1", "metrics", (0, "")), ("rollout 2", "metrics", (0, ""))]
    assert [result[0] for result in Faults("e", 0.1).sample(Group(0))] == ["local rollout"]


def test_a_dead_runner_is_missed_once_then_waited_for_counted_and_told():
    faults, group = Faults("e", 0.1), Group(dies=[set(), {2}])
    assert len(faults.sample(group)) == 2
    assert faults.find_restarted(group) == []
    assert group.probes == []
    assert [result[0] for result in faults.sample(group)] == ["rollout 1"]
    assert faults.find_restarted(group) == [2]
    assert group.probes == [1.0]
    assert len(faults.sample(group)) == 2
    assert faults.get_state() == {"env_failures": 0, "runner_restarts": 1}
    notices = faults.take_notices()
    assert notices == [
        "1 of 2 env runners died: going on with the others until restarted",
        "env runner 2 was restarted",
    ]
    assert faults.take_notices() == []


def test_a_runner_that_stays_away_holds_up_one_iteration_only(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 20.0))
    faults, group = Faults("e", 0.1), Group(dies=[{1}], comes_back=False)
    faults.sample(group)
    assert faults.find_restarted(group) == []
    assert len(group.probes) == 4, "for 60 s"
    for _ in range(25):
        faults.sample(group)
        faults.find_restarted(group)
        now[0] += 1.0
    assert len(group.probes) == 4 + 2, "then every 10 s"
    assert faults.runner_restarts == 0


def test_a_death_found_while_weights_are_sent_is_waited_for_and_told_of_too(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.time, "sleep", lambda seconds: now.__setitem__(0, now[0] + 20.0))
    faults, group = Faults("e", 0.1), Group(comes_back=False)
    faults.sample(group)
    group.healthy.remove(2)
    assert faults.find_restarted(group) == []
    assert len(group.probes) == 4, "for 60 s"
    assert faults.take_notices() == ["1 of 2 env runners died: going on with the others until restarted"]
    group.comes_back = True
    faults.sample(group)
    assert faults.take_notices() == [], "once"
    now[0] += 10.0
    assert faults.find_restarted(group) == [2]


def test_all_runners_dead_stop_with_the_remedy():
    with pytest.raises(UserError, match=r"a worker process died.*--resume"):
        Faults("e", 0.1).sample(Group(dies=[{1, 2}]))


def test_deaths_in_more_than_three_iterations_in_a_row_stop():
    faults, group = Faults("e", 0.1), Group(dies=[{1}, {2}, {1}, set(), {1}, {1}, {1}, {2}])
    for _ in range(7):
        faults.sample(group)
        assert faults.find_restarted(group) or len(group.healthy) == 2
    with pytest.raises(UserError, match="a worker process died"):
        faults.sample(group)


@pytest.mark.parametrize("error", [NonFiniteError("the loss", "here"), UserError("no", "yes"), RuntimeError("a bug")])
def test_what_a_runner_raises_is_raised_here(error):
    group = Group()

    def sample():
        raise error

    group.runners[1].sample = sample
    with pytest.raises(type(error)) as caught:
        Faults("e", 0.1).sample(group)
    assert str(caught.value) == str(error)


def test_an_error_that_cannot_travel_is_described():
    def fail(runner):
        raise type("Local", (Exception,), {})("inside")

    with pytest.raises(RuntimeError, match="Local: inside"):
        call_runners(Group(), fail, local=False)


def test_failures_of_all_runners_count_together_and_are_told_once():
    faults = Faults("Robot-v1", 0.01)
    faults.count_failures([(0, ""), (2, "a")], 100)
    faults.count_failures([(1, "b"), (0, "")], 200)
    assert faults.take_notices() == ["an environment failed and was restarted (a)"]
    assert faults.get_state()["env_failures"] == 3
    with pytest.raises(UserError, match=r"Robot-v1 failed 4 times in 300 steps.* last cause: c"):
        faults.count_failures([(1, "c")], 300)


def test_counts_go_on_after_a_restart():
    faults = Faults("Robot-v1", 0.01)
    faults.set_state({"env_failures": 3, "runner_restarts": 2})
    faults.count_failures([(1, "c")], 1000)
    assert faults.get_state() == {"env_failures": 4, "runner_restarts": 2}
    assert faults.take_notices() == []


def test_runners_that_could_not_be_made_are_named():
    group = Group()
    require_runners(group)
    group.healthy = {1}
    results = [SimpleNamespace(ok=True), SimpleNamespace(ok=False, get=lambda: OSError("died\nNo module named 'x'"))]
    group._worker_manager = SimpleNamespace(foreach_actor=lambda function, healthy_only: results)
    with pytest.raises(UserError, match=r"could not be made \(No module named 'x'\)"):
        require_runners(group)


def test_runners_that_die_together_count_once():
    group = AsynchronousGroup(32)
    faults = Faults("env", 0.1, waits=False)
    assert faults.collected(group, "fragments") == [(1, "fragment")]
    group.healthy = 20
    assert faults.collected(group, "fragments") == [(1, "fragment")]
    (notice,) = faults.take_notices()
    assert notice == "12 of 32 env runners died: going on with the others until restarted"


def test_deaths_again_and_again_end_the_run_unless_fragments_come_in_between():
    for between, is_borne in ((0, False), (32, True)):
        group, faults = AsynchronousGroup(32), Faults("env", 0.1, waits=False)
        faults.collected(group, "fragments")
        for _ in range(LOSSES_IN_A_ROW):
            group.healthy -= 1
            faults.collected(group, "fragments")
            for _ in range(between):
                faults.collected(group, "fragments")
        group.healthy -= 1
        if is_borne:
            faults.collected(group, "fragments")
        else:
            with pytest.raises(UserError, match="a worker process died"):
                faults.collected(group, "fragments")


class AsynchronousGroup:
    """RLlib's group, as far as collecting goes: a fragment comes at every call."""

    def __init__(self, number):
        self.number = self.healthy = number
        ready = [SimpleNamespace(tag="fragments", actor_id=1, ok=True, get=lambda: "fragment")]
        ready.append(SimpleNamespace(tag="set_state", actor_id=2, ok=True, get=lambda: None))
        self._worker_manager = SimpleNamespace(fetch_ready_async_reqs=lambda **_: ready)

    def num_remote_env_runners(self):
        return self.number

    def num_healthy_remote_workers(self):
        return self.healthy
