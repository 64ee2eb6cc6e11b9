"""How a meta-learned policy adapts to held-out goals: the figures of ``result.json``, and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from synrl_ray.evaluation.adaptation_figure import AdaptedTask, draw_adaptation
from synrl_ray.experiment import GridworldTasks

if TYPE_CHECKING:
    from synrl_ray.meta.gridworld_batch import PlayedGridworlds
    from synrl_ray.meta.maml_rl import MamlPolicy

MORE_STEPS = 2
"""Inner steps beyond those of the score, to see whether adaptation goes on."""
_DRAWN_TASKS, _DRAWN_STEPS = 4, (0, 1, 3)


def judge_policy(maml: MamlPolicy, tasks: GridworldTasks, *, num_tasks: int, inner_steps: int) -> dict[str, Any]:
    """Regret on test tasks by the number of inner steps, and the protocol."""
    grids = _grids(tasks)
    size = f"{tasks.rows} x {tasks.columns} cells, {tasks.num_obstacles} obstacles, {tasks.reward} reward"
    return {
        **_figures(maml, grids, num_tasks, inner_steps),
        "protocol": {
            "data": tasks.name,
            "tasks": size,
            "test_tasks": num_tasks,
            "held_out_goals": len(grids.tasks.goals("test")),
            "inner_steps": inner_steps,
            "episodes_per_step": maml.config.episodes,
            "regret": "exact, without shaping or discount, as a share of the optimal return; of the greedy policy",
            "interval": "1.96 standard errors over test tasks",
        },
    }


def draw_policy(maml: MamlPolicy, tasks: GridworldTasks, path: Path, *, title: str) -> None:
    """Where the policy goes on a few test tasks with goals of their own."""
    from synrl_ray.envs.gridworld_visits import expected_visits
    from synrl_ray.meta.policy_judging import relative_regret

    grids = _grids(tasks)
    seeds = _seeds_of_goals(grids.sample("test", range(50)).grids.goals.tolist())
    batch = grids.sample("test", seeds)
    experience = maml.play(batch, num_steps=max(_DRAWN_STEPS), judged=False)
    policies = [experience.log_probs[steps].double().softmax(-1) for steps in _DRAWN_STEPS]
    visits = [expected_visits(batch.grids, policy).numpy() for policy in policies]
    regrets = relative_regret(batch.grids, policies).tolist()
    shape, start = (tasks.rows, tasks.columns), grids.tasks.start
    drawn = [
        AdaptedTask(
            free=batch.grids.free[i].numpy(),
            goal=divmod(int(batch.grids.goals[i]), tasks.columns),
            start=start,
            visits=[v[i].reshape(shape) for v in visits],
            regrets=regrets[i],
        )
        for i in range(len(seeds))
    ]
    draw_adaptation(drawn, _DRAWN_STEPS, path, title=title)


def _grids(tasks: GridworldTasks) -> PlayedGridworlds:
    from synrl_ray.meta.building import gridworld_distribution
    from synrl_ray.meta.gridworld_batch import PlayedGridworlds

    return PlayedGridworlds(gridworld_distribution(tasks))


def _figures(maml: MamlPolicy, grids: PlayedGridworlds, num_tasks: int, inner_steps: int) -> dict[str, Any]:
    from synrl_ray.meta.policy_judging import judge_policies

    return judge_policies(maml, grids, "test", num_tasks, inner_steps + MORE_STEPS).figures(inner_steps)


def _seeds_of_goals(goals: list[int]) -> list[int]:
    """Seeds of the first tasks whose goals differ."""
    first = {goal: seed for seed, goal in reversed(list(enumerate(goals)))}
    return sorted(first.values())[:_DRAWN_TASKS]
