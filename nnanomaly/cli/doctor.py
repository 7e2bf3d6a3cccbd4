"""The command that looks at the machine."""

import argparse
import json
import time

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.utilities.errors import EnvironmentFault


def doctor(argv: Arguments = None) -> int:
    """Look at this machine: versions, folders, memory, disk, extras, devices.

    Nothing is sent.
    """
    parser = options.new_parser(doctor)
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    parser.add_argument("--quick", action="store_true", help="leave the devices out: torch takes seconds to import")
    return run_command(parser, argv, _doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from nnanomaly import __version__
    from nnanomaly.doctor import FAULT, diagnose
    from nnanomaly.utilities.json_io import to_document

    start = time.monotonic()
    findings = []
    for finding in diagnose(devices=not arguments.quick):
        findings.append(finding)
        if not arguments.json:
            say(f"{finding.state:8} {finding.topic:17} {finding.name}: {finding.text}", flush=True)
    status = EnvironmentFault.exit_code if any(finding.state == FAULT for finding in findings) else 0
    if arguments.json:
        seconds = round(time.monotonic() - start, 3)
        head = {"nnanomaly_version": __version__, "exit_status": status, "seconds": seconds}
        say(json.dumps({**head, "findings": to_document(findings)}, indent=2))
    return status
