"""What the tasks of a meta-learner ask to import: an environment, or a sampler of tasks."""

from __future__ import annotations

from synrl_ray.experiment import Environment, EnvironmentTasks
from synrl_ray.policies.description import Description, damage_of, described
from synrl_ray.running.imports import admit_modules_of_policy, admit_policy
from synrl_ray.settings.meta import AnyTasks


def environment_of(tasks: AnyTasks) -> Environment | None:
    """The environment that tasks are set in, if there is one."""
    return Environment(id=tasks.id, kwargs=tasks.kwargs) if isinstance(tasks, EnvironmentTasks) else None


def sampler_modules(tasks: AnyTasks) -> tuple[str, ...]:
    """The module of a sampler of tasks."""
    if not isinstance(tasks, EnvironmentTasks) or tasks.sampler is None:
        return ()
    return (tasks.sampler.partition(":")[0],)


def admit_tasks(description: Description, *, trust: bool) -> None:
    """Say which modules a learner's tasks import, before they are.

    Raises:
        UserError: if nothing shows that this user made the learner, and whoever did is not trusted; not for modules of
            this project, of Gymnasium and of ale-py.
    """
    with damage_of(description.file):
        tasks: AnyTasks = described(description, "tasks", AnyTasks)
    environment = environment_of(tasks)
    if environment is not None:
        admit_policy(environment, description.folder, trust=trust)
    admit_modules_of_policy(sampler_modules(tasks), description.folder, trust=trust)
