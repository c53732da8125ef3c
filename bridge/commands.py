"""The bridge's verbs of the command `roompool`. Importing this loads neither the native library nor numpy."""

import asyncio
import signal
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.simulator import Faults, Simulator


def simulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8765,
    profile: Annotated[
        str, typer.Option(help="live: as the service was seen to behave; docs: as documented.")
    ] = "live",
    control_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="HTTP port for faults and reports; 0: a free one.")
    ] = None,
    refuse_key: Annotated[list[str] | None, typer.Option(help="A key to refuse, beside 'refused'. Repeatable.")] = None,
    resume: Annotated[str | None, typer.Option(help="accept, reject or accept_only_resume_token.")] = None,
    onset_ms: Annotated[int, typer.Option(help="Speech before the caller's turn is announced.")] = 600,
    barge_in_ms: Annotated[int, typer.Option(help="Speech that interrupts the agent.")] = 1100,
    endpoint_ms: Annotated[int | None, typer.Option(help="Silence that ends a turn.  [default: by mode]")] = None,
    lead_silence_ms: Annotated[int | None, typer.Option(help="Silence before a reply.  [default: 1000]")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="NAME=JSON, e.g. drop_after_ms=3000. Repeatable.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the addresses as one line of JSON.")] = False,
) -> None:
    """Run the voice simulator: it speaks the Voice Agent API, with no key and no cost, until it is interrupted.

    It greets, listens, and plays the caller's own voice back. Any key is accepted but the refused ones.

    Example: roompool simulator --port 8765 --fault long_reply=true
    """
    # numpy and the rendered speech, which `roompool --help` can do without
    from bridge.simulator import Profile, Resume, Simulator, SimulatorOptions

    try:
        options = SimulatorOptions(
            profile=Profile(profile),
            refused_keys=frozenset(refuse_key or ()),
            resume=Resume(resume) if resume else None,
            onset_ms=onset_ms,
            barge_in_ms=barge_in_ms,
            endpoint_ms=endpoint_ms,
            lead_silence_ms=lead_silence_ms,
        )
        made = Simulator(options, _faults(fault or []))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        asyncio.run(_run_simulator(made, host, port, control_port, as_json=json))
    except OSError as error:
        typer.echo(f"The simulator cannot listen on {host}: {error.strerror}. Choose another --port.", err=True)
        raise typer.Exit(2) from error


def _faults(asked: list[str]) -> "Faults":
    import orjson

    from bridge.simulator import Faults

    return Faults.parse({name: orjson.loads(value) for name, _, value in (entry.partition("=") for entry in asked)})


async def _run_simulator(made: "Simulator", host: str, port: int, control_port: int | None, *, as_json: bool) -> None:
    """Serve until SIGINT or SIGTERM."""
    import orjson

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with made.serve(host, port, control_port=control_port) as running:
        addresses = {"simulator": True, "url": running.url, "control_url": running.control_url}
        control = f", control at {running.control_url}" if running.control_url else ""
        typer.echo(orjson.dumps(addresses) if as_json else f"roompool voice simulator at {running.url}{control}")
        await stop.wait()
