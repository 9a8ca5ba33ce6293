"""Which files are pure: values in, values out, no clock, no sockets, no global random streams.

`python tests/pure_files.py` prints those whose branch coverage must be complete, for `coverage report`.
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

WIRE_EDGES = {
    "transport.py",
    "sender.py",
    "socket_writer.py",
    "push_socket.py",
    "listener.py",
    "intake.py",
    *("asking.py", "dns_discovery.py", "interfaces.py", "seed_discovery.py"),
    *("surfacing.py", "zeroconf_discovery.py"),
}
PURE_WIRE = sorted(path for path in (ROOT / "wire").glob("*.py") if path.name not in WIRE_EDGES)
PURE_CORE = [
    ROOT / "peer" / f"{name}.py"
    for name in (
        *(
            "admission",
            "agent",
            "algebra",
            "budget",
            "bypasses",
            "errors",
            "events",
            "hyper_schedule",
            "inbox",
            "introductions",
            "joining",
        ),
        *("learner", "liveness", "lives", "membership", "pace", "partners", "peer_table", "plausibility"),
        *("checkpoint_schedule", "checkpoints", "disk", "phase", "progress", "snapshot", "state_files"),
        *("orders", "outlet", "storage"),
        *("inner_optimizer", "extensions/__init__", "extensions/installed", "extensions/points"),
        *("push_sum", "running_sum", "scenario", "settings", "simulation", "solver", "speaker", "topology"),
        *("local_steps", "streams"),
        *("tracking", "unheard", "until"),
        *(
            "averages",
            "tuning/caution",
            "tuning/clipping",
            "tuning/curvature",
            "tuning/mixing",
            "tuning/noise",
            "tuning/rule",
            "tuning/runaway",
            "tuning/tuner",
        ),
    )
]
TORCH_SIDE = [
    ROOT / "peer" / f"{name}.py"
    for name in (
        *("batch_norms", "data_position", "plain_trees"),
        *("data/datasets", "data/holdings", "data/idx", "data/inputs", "data/labelled", "data/mixture"),
        *("data/partition", "data/splitting", "data/tables"),
        *(
            "assembly",
            "derivatives",
            "hyper_rate",
            "hyper_watch",
            "module_checks",
            "module_data",
            "module_problem",
            "module_scores",
            "problem",
        ),
        *(
            "influence/findings",
            "influence/harms",
            "influence/wrong_labels",
            "page/picture",
            "quadratic",
            "tensor_algebra",
            "tensors",
            "torch_learner",
        ),
        *("logistic", "lockstep", "estimators/base", "estimators/direct", "estimators/jacobian_push"),
        *("estimators/choice", "estimators/learning", "estimators/neumann", "estimators/tracking"),
        "estimators/training",
        *("checkup/costs", "checkup/losses", "checkup/samples", "checkup/trees"),
        *("data/npy", "exporting/facts", "personal_module", "predicting", "sample_files"),
        *("trace/checks", "trace/origins", "trace/outline", "trace/records", "trace/replay", "trace/story"),
        *("trace/watch",),
    )
]
TORCH_SIDE += sorted((ROOT / "peer" / "personalization").glob("*.py"))
TORCH_SIDE += sorted((ROOT / "peer" / "rivals").glob("*.py"))
TORCH_SIDE += [
    ROOT / "peer" / "bench" / f"personalization_{name}.py" for name in ("networks", "plan", "rows")
]
# Not of the core, and without tensors: what people say, turned into what the program works with.
PURE_PROGRAM = [
    ROOT / "peer" / f"{name}.py"
    for name in (
        *("admin_input", "doctor", "doctor_links", "evidence", "fault_words", "findings", "refused"),
        *("event_words", "metrics", "page/chronicle", "page/health", "page/history", "problem_details"),
        *("printable", "pulse", "scenario_file", "settled", "status"),
        *("data/choice", "data/scheme", "options/data", "options/export"),
        *("chaos/plan", "chaos/record", "chaos/scorecard", "options/chaos"),
        *(
            "options/meaning",
            "options/faults",
            "options/names",
            "options/option",
            "options/readers",
            "options/settings",
            "options/sources",
            "options/table",
        ),
        *("options/again", "options/benches", "options/tools", "soak/measures"),
        *("report/figure", "report/happenings", "report/happenings_told", "report/links_seen"),
        *("report/markdown", "report/run", "report/themes", "report/thinning", "report/values"),
    )
]
PURE = [*PURE_WIRE, *PURE_CORE, *TORCH_SIDE, *PURE_PROGRAM]
# What is hunted has to be the same everywhere; its tests take too long to be run once more for coverage.
PURE_HUNT = sorted(path for path in (ROOT / "peer" / "hunt").rglob("*.py") if path.name != "campaign.py")
PURE_HUNT += [ROOT / "peer" / "soak" / f"{name}.py" for name in ("floats", "virtual")]
# Pictures have more branches than there are ways for them to be wrong that a test would see.
PURE_HUNT += [
    ROOT / "peer" / "report" / f"{name}.py"
    for name in ("curves", "hypers", "links", "page", "scores", "tables")
]

if __name__ == "__main__":
    print(",".join(path.relative_to(ROOT).as_posix() for path in PURE))
