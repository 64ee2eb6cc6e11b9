"""The ``synrl`` command. Heavy imports happen inside the commands, so that help and list are instant."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Parameter

from synrl_ray import __version__
from synrl_ray.arguments import Integer, Json, PolicyKind, Screen, Settings, Tracker
from synrl_ray.commands import command
from synrl_ray.errors import UserError, reason_of
from synrl_ray.files import located
from synrl_ray.running.ray_session import limit_threads
from synrl_ray.terminal import adapt_streams, give_up, help_console
from synrl_ray.tune_cli import tune

_OF_PATHS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR),
    *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
)
"""Errors of the system that tell of a path, rather than of a fault in this program."""
app = App(
    name="synrl",
    help="Train spiking agents on any Gymnasium environment, on a laptop or a Ray cluster.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    default_parameter=Parameter(negative=()),
)
head = App(name="head", help="A Ray head with a job server on this machine, bound to loopback.")
app.command(head)
app.command(tune)
app.register_install_completion_command(help="Let the shell complete commands and options; bash, zsh and fish.")


@app.command(name="list")
def list_experiments(*, as_json: Json = False) -> None:
    """List the experiments, with the scores of committed results. Files that do not load are named on standard error.

    Args:
        as_json: print JSON instead of a table.
    """
    from dataclasses import asdict

    from synrl_ray.registry import committed_scores, found_experiments

    found, broken = found_experiments()
    for error in broken:
        print(f"synrl: {error}", file=sys.stderr)
    if as_json:
        rows = [{"id": e.id, "summary": e.summary, "kind": e.kind, **asdict(e.stopping)} for e in found.values()]
        print(json.dumps(rows, indent=2))
        return
    experiments = sorted(found.values(), key=lambda e: e.group)
    width = max((len(e.id) for e in experiments), default=0)
    for group, members in groupby(experiments, key=lambda e: e.group):
        print(group)
        for e in members:
            print(f"  {e.id:<{width}}  {e.summary} ({e.stopping.amount})")
            scores = (f"{policy} {name} {value:.4g}" for policy, (name, value) in committed_scores(e).items())
            if shown := ", ".join(scores):
                print(f"  {'':<{width}}  {shown}")


@app.command
def info(
    experiment: str | None = None,
    /,
    *,
    env: str | None = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the settings of an experiment, or of what `train --env` makes: what --set takes, and what each is for.

    Args:
        experiment: id, as `synrl list` shows it.
        env: instead of an experiment, the id of any Gymnasium environment, or module:Id.
        settings: key=value pairs that replace settings, such as algorithm=a2c with --env.
        as_json: print JSON instead of lines.
    """
    import synrl_ray
    from synrl_ray.setting_docs import print_settings, setting_docs

    found = synrl_ray.make_experiment(experiment, settings, env=env)
    if as_json:
        print(json.dumps([each._asdict() for each in setting_docs(found)], indent=2))
    else:
        print_settings(found)


@app.command
def train(
    experiment: str | None = None,
    /,
    *,
    env: str | None = None,
    policy: PolicyKind | None = None,
    seed: Integer | None = None,
    seeds: Integer | None = None,
    num_workers: Integer | None = None,
    num_learners: Integer | None = None,
    gpus_per_learner: float | None = None,
    stop_steps: Integer | None = None,
    settings: Settings = None,
    config: Path | None = None,
    run_dir: Path | None = None,
    storage: str | None = None,
    address: str | None = None,
    resume: str | None = None,
    track: Tracker | None = None,
    trust: bool = False,
    as_json: Json = False,
) -> None:
    """Train an experiment, or on any environment, or go on with a run that was stopped.

    Args:
        experiment: id, as `synrl list` shows it.
        env: instead of an experiment, the id of any Gymnasium environment, or module:Id. Algorithm, network, budget and
            evaluation follow from its spaces, are shown, and can be replaced by --set.
        policy: which of the experiment's policies: spiking (the default) or its non-spiking twin, or tabular.
        seed: seed of the run (0 where neither --seed nor --seeds is given).
        seeds: train this many seeds, 0 to N-1, as many at a time as there are CPUs, and summarise them.
        num_workers: env runners in processes of their own; 0, the default, samples in the trainer's.
        num_learners: learners in processes of their own, which share each minibatch; 0, the default, learns in the
            trainer's. For PPO, A2C, REINFORCE, PQN, and IMPALA with --num-workers.
        gpus_per_learner: GPUs of each learner, a share of one or 1; 0, the default, learns on the CPU. In
            meta-learning, of each worker. A run that is resumed may have another number.
        stop_steps: environment steps after which training ends. With --resume, schedules keep the end that they were
            made for.
        settings: key=value pairs that replace settings of the experiment, such as lr=3e-4 spiking.hidden_sizes=64,64.
        config: a JSON file of such settings, such as the best.json of `synrl tune`; --set comes after it.
        run_dir: the run's folder; runs/EXPERIMENT/POLICY-seedN where not given. With --seeds, the folder of the runs.
        storage: where to copy each run at every checkpoint: a folder, or an fsspec URL such as s3://bucket/runs. With
            --resume, the very place of that run's copy; needed where the run was moved, or is not yours.
        address: host:port of a Ray cluster; without it a local Ray is started.
        resume: go on with the run in this folder instead of starting one. The copy at a URL is fetched into --run-dir
            first.
        track: send rows, settings, result and policy to mlflow or wandb as well, to where MLFLOW_TRACKING_URI,
            WANDB_MODE or `wandb login` say. A run that is resumed with it stays one run there.
        trust: load a checkpoint, and import the modules of its environment and network, though you did not make the run
            on this machine. RLlib's checkpoints are pickles, which can execute anything.
        as_json: print the result as JSON on standard output; progress goes to standard error.
    """
    import synrl_ray
    from synrl_ray.policies.description import damage_of
    from synrl_ray.running.display import watch_runs

    with watch_runs(quiet=as_json) as watch:
        trained = synrl_ray.train(
            experiment,
            env=env,
            policy=policy,
            seed=seed,
            seeds=seeds,
            num_workers=num_workers,
            num_learners=num_learners,
            gpus_per_learner=gpus_per_learner,
            stop_steps=stop_steps,
            settings=settings,
            config=config,
            run_dir=run_dir,
            storage=storage,
            address=address,
            resume=resume,
            track=track,
            trust=trust,
            watch=watch,
        )
    if as_json:
        print(trained.result.as_json(), end="")
        return
    with damage_of(trained.folder / "result.json"):
        trained.kind.print_outcome(trained.outcome)


@app.command
def evaluate(
    run_dir: str,
    /,
    *,
    episodes: Integer | None = None,
    seed: Integer | None = None,
    video: Path | None = None,
    shots: Integer | None = None,
    support_statistics: bool = False,
    official_runs: bool = False,
    check: bool = False,
    trust: bool = False,
    as_json: Json = False,
) -> None:
    """Evaluate a run's policy, on seeds that training never uses. Ray is not needed.

    Args:
        run_dir: a run's folder, one under experiments/results, or the URL of a copy; or a file of `synrl pack`.
        episodes: how many (default: the experiment's protocol).
        seed: seed of the first episode's environment (default: the experiment's protocol, as in result.json).
        video: write one episode to this .mp4 or .gif file.
        shots: samples (of each class) from which a meta-learner adapts (default: as in its training).
        support_statistics: normalise a meta-learner's queries by their support set, so that none depends on another.
        official_runs: judge a learner of Omniglot, 20 ways and 1 shot, by the set's 20 official one-shot runs.
        check: compute result.json, or all below a folder such as experiments/results, again from the policies beside
            it; the exit code is 1 where they do not agree.
        trust: import the modules of its environment and network, though you did not make the run on this machine.
        as_json: print JSON instead of a table.
    """
    import synrl_ray

    if check:
        from synrl_ray.kinds.auditing import check_folder

        given = {"--episodes": episodes, "--seed": seed, "--video": video, "--shots": shots}
        flags = {"--support-statistics": support_statistics, "--official-runs": official_runs, "--json": as_json}
        for option, value in {**given, **{name: flag or None for name, flag in flags.items()}}.items():
            if value is not None:
                raise UserError(f"--check does not go with {option}", "what is recorded is judged as it was judged")
        check_folder(located(Path(run_dir)), trust=trust)
        return
    judged = synrl_ray.evaluate(
        run_dir,
        episodes=episodes,
        seed=seed,
        video=video,
        shots=shots,
        support_statistics=support_statistics,
        official_runs=official_runs,
        trust=trust,
    )
    if as_json:
        print(judged.result.as_json(), end="")
    else:
        judged.kind.print_evaluation(judged.result)


@app.command
def watch(
    run_dir: str,
    /,
    *,
    on: Screen | None = None,
    seed: Integer | None = None,
    port: Integer = 0,
    trust: bool = False,
) -> None:
    """Watch a run's policy play, with its spikes beside it; speed, pause, next episode and seed are yours.

    Args:
        run_dir: as of `synrl evaluate`.
        on: a window, the default where there is a display; or a page that only this machine sees, the default
            elsewhere; or the terminal.
        seed: of the first episode (default: the experiment's protocol); each has the next one.
        port: of the page; any that is free where not given.
        trust: import the modules of its environment and network, though you did not make the run on this machine.
    """
    import synrl_ray

    try:
        synrl_ray.watch(run_dir, on=on, seed=seed, port=port, trust=trust)
    except KeyboardInterrupt:  # the way to end it
        print(flush=True)


@app.command
def compare(*runs: str, markdown: bool = False, trust: bool = False, as_json: Json = False) -> None:
    """Put runs side by side: scores with their intervals, time, energy, and the settings in which they differ.

    Args:
        runs: folders of runs, of several seeds, or under experiments/results. Seeds of the same settings in one folder
            are put together.
        markdown: print the tables as Markdown.
        trust: import the modules of environments and networks, though you did not make the runs on this machine.
            Without it, such a policy is not looked into.
        as_json: print the figures as JSON.
    """
    import synrl_ray
    from synrl_ray.reporting.printing import print_comparison

    if markdown and as_json:
        raise UserError("--markdown and --json do not go together", "leave one out")
    found = synrl_ray.compare(*runs, trust=trust)
    if as_json:
        print(json.dumps(found.table(), indent=2))
    elif markdown:
        print(found.markdown(), end="")
    else:
        print_comparison(found)


@app.command
def report(*runs: str, out: Path | None = None, markdown: bool = False, trust: bool = False) -> None:
    """Write a page about runs, with figures, that needs neither the network nor other files.

    Args:
        runs: as of `synrl compare`; one is enough.
        out: the file; report.html where not given, or report.md.
        markdown: write the tables alone, as Markdown.
        trust: as of `synrl compare`.
    """
    import synrl_ray

    written = synrl_ray.report(*runs, out=out, markdown=markdown, trust=trust)
    print(f"{written.file}: {', '.join(entry.label for entry in written.comparison.entries)}")


@app.command
def export(
    run_dir: Path, /, *, out: Path, bits: Integer | None = None, trust: bool = False, as_json: Json = False
) -> None:
    """Write a spiking policy's actor as a NIR graph, checked from raw observations over whole episodes.

    Args:
        run_dir: a run's folder.
        out: the .nir file to write.
        bits: round the weights to so many bits, such as 8, and show the greedy return without and with that.
        trust: import the modules of its environment and network, though you did not make the run on this machine.
        as_json: print JSON instead of lines.
    """
    from synrl_ray.kinds.evaluating import export_folder

    outcome = export_folder(located(run_dir), located(out), trust=trust, bits=bits)
    if as_json:
        print(json.dumps(outcome))
    else:
        from synrl_ray.kinds.printing import print_export

        print_export(outcome)


@app.command
def pack(run_dir: Path, /, *, out: Path, licence: str | None = None) -> None:
    """Write one file for sharing: a policy with its card, result and settings. It holds no code and no pickle.

    Args:
        run_dir: a run's folder, or one under experiments/results.
        out: the .synrl file to write; `synrl evaluate` and synrl_ray.load_policy take it, from a path or a URL.
        licence: under which the policy is shared, for the card.
    """
    import synrl_ray

    size = synrl_ray.pack(run_dir, out, licence=licence)
    print(f"{out}: {size / 1024:,.0f} KiB. Judge it with `{command('evaluate', out)}`")


@app.command
def submit(
    *arguments: Annotated[str, Parameter(allow_leading_hyphen=True)],
    address: str | None = None,
    env: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None,
    detach: bool = False,
) -> None:
    """Run a synrl command as a job on a Ray cluster: `synrl submit -- train cartpole-ppo`.

    Args:
        arguments: the command and its arguments, after `--`.
        address: of the job server, such as http://127.0.0.1:8265; the head of `synrl head start` where not given.
        env: variables of the job: `NAME=VALUE`, such as SYNRL_DATA=/data where the cluster has it, or `NAME` for the
            value that it has here. Not for secrets: whoever may ask the job server reads them, and Ray logs them.
        detach: return at once instead of following the job's log.
    """
    from synrl_ray.cluster.job_variables import job_variables
    from synrl_ray.cluster.submit import submit_job

    if not arguments:
        raise UserError("nothing to submit", f"write for instance `{command('submit', '--', 'train', 'cartpole-ppo')}`")
    outcome = submit_job(
        list(arguments),
        address=address,
        working_dir=Path.cwd(),
        follow=not detach,
        env_vars=job_variables(env or ()),
    )
    if outcome.exit_status:
        raise SystemExit(outcome.exit_status)


@head.command(name="start")
def head_start(*, port: Integer = 8265, num_cpus: Integer | None = None) -> None:
    """Start it, and show how to use it.

    Args:
        port: of the job server.
        num_cpus: CPUs to offer; all where not given.
    """
    from synrl_ray.cluster.head import start_head

    if not 1 <= port <= 65535:
        raise UserError(f"--port {port} is no port", "it lies between 1 and 65535")
    if num_cpus is not None and num_cpus < 1:
        raise UserError(f"--num-cpus {num_cpus} is too small", "it is at least 1")
    started = start_head(dashboard_port=port, num_cpus=num_cpus)
    print(f"Ray head at {started.address}, for --address {started.gcs_address}")
    job = command("submit", "--", "train", "cartpole-ppo")
    print(f"Submit with `{job}`, end it with `{command('head', 'stop')}`")


@head.command(name="stop")
def head_stop() -> None:
    """Stop it."""
    from synrl_ray.cluster.head import stop_head

    stop_head()


@head.command(name="env")
def head_env() -> None:
    """Print the environment that Ray's own clients need: `eval "$(synrl head env)"`."""
    import shlex

    from synrl_ray.cluster.head import head_environment

    for name, value in head_environment().items():
        print(f"export {name}={shlex.quote(value)}")


def main(argv: Sequence[str] | None = None) -> Any:
    """Entry point: one line and status 2 for what the user can mend."""
    limit_threads()
    adapt_streams()
    try:
        app(argv, exit_on_error=False, print_error=False, console=help_console())
        sys.stdout.flush()
    except cyclopts.CycloptsError as error:
        _fail(str(UserError(" ".join(str(error).split()), f"`{command('--help')}` shows the options")))
    except UserError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt as interrupt:
        _end(": ".join(["stopped", *map(str, interrupt.args)]), 130)
    except (BrokenPipeError, SystemExit) as error:
        # Whoever read standard output has gone: nothing is wrong. Rich makes status 1 of that.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        give_up(sys.stdout)
        sys.exit(0)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            give_up(sys.stdout)
            _fail(f"nothing more can be written ({reason_of(error)}) — make room, then look at what is there already")
        if error.errno not in _OF_PATHS or error.filename is None:
            raise
        problem = f"{os.fsdecode(error.filename)} cannot be used ({error.strerror})"
        _fail(str(UserError(problem, "mend that, or name another place")))


def _fail(message: str, status: int = UserError.exit_code) -> None:
    _end(message, status)


def _end(message: str, status: int) -> None:
    """End with a line, if anybody can read it."""
    try:
        print(f"synrl: {message}", file=sys.stderr, flush=True)
    except OSError:
        give_up(sys.stderr)
    sys.exit(status)
