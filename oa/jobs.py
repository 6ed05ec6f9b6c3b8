"""`oa jobs`: launch, list, show, follow and cancel training jobs, and work on them.

Works from the object store alone (`jobs.control`); only `worker` needs Ray, in a process of its own. On a terminal it
draws progress; otherwise it prints plain lines, or JSON with `--json`.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import BadInput

if TYPE_CHECKING:
    from rich.progress import Progress

    from core.objects import ObjectStore
    from jobs.control import JobView

app = typer.Typer(help="Launch, list, show, follow, cancel and work on training jobs.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one value a line.")]
JobId = Annotated[str, typer.Argument(help="Id of the job.")]


@app.command("launch")
def launch_command(
    spec: Annotated[Path, typer.Argument(help="File with the job's specification (JSON); - for standard input.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show progress until the job ends.")] = False,
    job_id: Annotated[str | None, typer.Option(help="Id to use; launching it twice makes one job.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a specification and put it into the queue; prints the job's id."""
    from jobs import control

    store = _store()
    made = control.launch(store, _read_json(spec), job_id=job_id)
    typer.echo(json.dumps({"job_id": made}) if as_json else made)
    if follow:
        _follow(store, made, as_json=as_json)


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Every job, newest first."""
    from jobs import control

    for view in control.list_jobs(_store()):
        if as_json:
            typer.echo(json.dumps(_plain(view)))
        else:
            stages = " ".join(f"{name}:{state}" for name, state in view.stages)
            typer.echo(f"{view.id}  {view.state:9}  {view.name:24}  {stages}")


@app.command("show")
def show_command(job_id: JobId, as_json: AsJson = False) -> None:
    """One job: its state, stages, metrics, model or error."""
    from jobs import control

    view = control.show(_store(), job_id)
    if as_json:
        typer.echo(json.dumps(_plain(view)))
        return
    typer.echo(f"{view.id}  {view.name}  {view.state}, attempts: {view.attempts}")
    results = {item["name"]: item for item in (view.result or {}).get("stages", ())}
    for name, state in view.stages:
        known = results.get(name, {})
        seconds = f"  {known['seconds']:.1f} s" if known.get("seconds") is not None else ""
        typer.echo(f"  {name:14} {state:10}{seconds}{_numbers(known.get('metrics', {}))}")
    _say_end(view.result)


@app.command("logs")
def logs_command(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """What a job said; a step that was run twice appears once."""
    from jobs import control
    from jobs.events import merge, read_events

    store = _store()
    if follow:
        _follow(store, job_id, as_json=as_json)
        return
    control.show(store, job_id)
    for event in merge(read_events(store, job_id)):
        typer.echo(json.dumps(event) if as_json else event_line(event))


@app.command("cancel")
def cancel_command(job_id: JobId) -> None:
    """Ask a job to stop; it ends within seconds, after what its stage is writing."""
    from jobs import control

    asked = control.cancel(_store(), job_id)
    typer.echo(f"{job_id}: {'will stop' if asked else 'has ended already'}")


@app.command("worker")
def worker_command(
    once: Annotated[bool, typer.Option("--once", help="End when the queue is empty.")] = False,
    job: Annotated[str | None, typer.Option(help="Work on this job alone, then end.")] = None,
    dashboard_port: Annotated[
        int | None, typer.Option(envvar="OA_RAY_DASHBOARD_PORT", help="Port of the local Ray's dashboard.")
    ] = None,
    launcher: Annotated[
        str, typer.Option(envvar="OA_LAUNCHER", help="local, ray-jobs or kuberay: where jobs run.")
    ] = "local",
) -> None:
    """Run jobs from the queue, here or by a launcher on a cluster."""
    from jobs.driver import Setup

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    environ = dict(os.environ)
    if dashboard_port is not None:
        environ["OA_RAY_DASHBOARD_PORT"] = str(dashboard_port)
    setup = Setup.from_env(environ)
    if launcher == "local":
        from jobs.worker import serve

        serve(setup, once=once, job_id=job)
    else:
        from jobs.dispatcher import serve_launcher

        serve_launcher(setup.store(), launcher, environ, once=once)


def event_line(event: dict[str, Any]) -> str:
    """One event as one line for a person."""
    where = f"{event['ts'][11:19]} {event['stage']:12}"
    kind = event["type"]
    if kind == "progress":
        return f"{where} {event['step']}/{event['total']}{_numbers(event['metrics'])}"
    if kind == "metric":
        return f"{where}{_numbers(event['metrics'])}"
    if kind == "state":
        return f"{where} {event['state']}{': ' + event['message'] if event.get('message') else ''}"
    if kind == "sample":
        return f"{where} {event['prompt']!r} -> {event['reply']!r}"
    if kind == "checkpoint":
        return f"{where} checkpoint of step {event['step']}"
    return f"{where} {event.get('message', '')}"


def _follow(store: ObjectStore, job_id: str, *, as_json: bool) -> None:
    """Show a job's events until it ends; exit code 1 unless it succeeded."""
    from jobs import control

    events = control.follow(store, job_id)
    if as_json:
        for event in events:
            typer.echo(json.dumps(event))
    elif sys.stdout.isatty():
        _draw(events)
    else:
        for event in events:
            typer.echo(event_line(event))
    result = control.show(store, job_id).result
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _say_end(result)
    if result is None or result["state"] != "succeeded":
        raise typer.Exit(1)


def _draw(events: Iterable[dict[str, Any]]) -> None:
    """One bar a stage; what is no step is printed above the bars."""
    from rich.progress import Progress, TextColumn

    with Progress(*Progress.get_default_columns(), TextColumn("{task.fields[numbers]}")) as progress:
        bars: dict[str, Any] = {}
        for event in events:
            if event["type"] == "progress":
                _advance(progress, bars, event)
            else:
                progress.console.print(event_line(event), markup=False, highlight=False)


def _advance(progress: Progress, bars: dict[str, Any], event: dict[str, Any]) -> None:
    stage = event["stage"]
    if stage not in bars:
        bars[stage] = progress.add_task(stage, numbers="")
    progress.update(bars[stage], completed=event["step"], total=event["total"], numbers=_numbers(event["metrics"]))


def _say_end(result: Mapping[str, Any] | None) -> None:
    if result is None:
        return
    error, model = result["error"], result["model"]
    if error:
        typer.echo(f"{result['state']}: {error['code']}: {error['message']}")
    elif model:
        typer.echo(f"{result['state']}: model {model['name']}@{model['version']}")
    else:
        typer.echo(result["state"])


def _numbers(metrics: dict[str, Any]) -> str:
    shown = [(name, value) for name, value in metrics.items() if isinstance(value, int | float)]
    return "".join(f"  {name} {format(value, '.4g' if isinstance(value, float) else '')}" for name, value in shown)


def _plain(view: JobView) -> dict[str, Any]:
    stages = [{"name": name, "state": state} for name, state in view.stages]
    plain = {"job_id": view.id, "name": view.name, "state": view.state, "attempts": view.attempts, "stages": stages}
    return {**plain, "result": view.result}


def _store() -> ObjectStore:
    from core.objects import ObjectStore

    return ObjectStore.from_env()


def _read_json(path: Path) -> Any:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        return json.loads(text)
    except OSError as error:
        raise BadInput(f"cannot read {str(path)!r}: {error.strerror}", code="BAD_SPEC") from error
    except ValueError as error:
        raise BadInput(f"{str(path)!r} is not JSON: {error}", code="BAD_SPEC") from error
