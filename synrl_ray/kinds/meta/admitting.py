"""What the tasks of a meta-learner ask to import: an environment, or a sampler of tasks."""

from __future__ import annotations

from synrl_ray.policies.description import Description, damage_of, described
from synrl_ray.running.imports import admit_modules_of_policy, admit_policy
from synrl_ray.settings.meta import AnyTasks


def admit_tasks(description: Description, *, trust: bool) -> None:
    """Say which modules a learner's tasks import, before they are.

    Raises:
        UserError: if nothing shows that this user made the learner, and whoever did is not trusted; not for modules of
            this project, of Gymnasium and of ale-py.
    """
    with damage_of(description.file):
        tasks: AnyTasks = described(description, "tasks", AnyTasks)
    if tasks.environment is not None:
        admit_policy(tasks.environment, description.folder, trust=trust)
    admit_modules_of_policy(tasks.own_modules, description.folder, trust=trust)
