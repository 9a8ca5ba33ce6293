"""Options: one table of them, and what is made of it.

    option, table, ...       what there is
    readers                  what a value has to be
    sources                  flag, environment, file, default: which one counts
    parsing                  the parser of the command line; from a command line to values in force
    meaning                  from values in force to settings, faults, the end of a run
    again                    from values in force back to a command line

Nothing heavy is imported, so that `--help` answers at once.
"""

from peer.options.again import command_words, given_options
from peer.options.meaning import agent_settings, data_choice, ending, fault_plan
from peer.options.parsing import OPTIONS, complete, make_parser, split
from peer.options.readers import (
    admin_address,
    advertised_address,
    as_toml,
    dns_address,
    listen_address,
    shard_of,
)
from peer.options.sources import relabelled

__all__ = [
    "OPTIONS",
    "admin_address",
    "advertised_address",
    "agent_settings",
    "as_toml",
    "command_words",
    "complete",
    "data_choice",
    "dns_address",
    "ending",
    "fault_plan",
    "given_options",
    "listen_address",
    "make_parser",
    "relabelled",
    "shard_of",
    "split",
]
