"""A run directory becomes one value, whatever is in it, and that becomes figures, tables and sentences."""

from __future__ import annotations

import itertools
import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from peer.report.curves import curves, missing_share, sent_bytes
from peer.report.figure import SPARKS, Figure, megabytes, seconds, sparkline, time_unit
from peer.report.happenings import troubles
from peer.report.happenings_told import happening
from peer.report.html import as_html, script_json
from peer.report.hypers import class_weight, hyper_figures
from peer.report.links import GRAPH_AGENTS_MAX, link_figures, links_sentence
from peer.report.markdown import as_markdown, escaped
from peer.report.page import make_page
from peer.report.reading import distinct_names
from peer.report.run import AGENTS_MAX, KIND_EVENTS_MAX, KINDS_MAX, TIMES_MAX, Lines, Run, make_run
from peer.report.scores import AGENTS_SHOWN_MAX, score_figures
from peer.report.tables import command, differences_table, results_table
from peer.report.themes import DARK, LIGHT
from peer.report.thinning import Thinned
from peer.report.values import TEXT_LENGTH_MAX, count, number, parsed, sentence, text, written
from tests import report_runs as made

NAMES = made.NAMES


def by_key(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.key: figure for figure in figures}


def page_of(*runs: Run) -> dict[str, Figure]:
    return by_key(make_page(runs).figures)


def test_what_happened_is_told_of_in_words() -> None:
    went_on = {"at_s": 1, "agent": "a", "event": "WentOn", "tick": 71, "incarnation": 2}
    for line, told in (
        (went_on, "goes on from tick 71 as incarnation 2"),
        ({"at_s": 1, "agent": "a", "event": "LinkHeard", "peer": "b"}, "is heard again by b"),
        ({"at_s": 1, "agent": "a", "event": "Unknown", "peer": "b"}, "Unknown"),
    ):
        found = happening(line)
        assert found is not None
        assert found.told == told


# ---- values


def test_values_that_do_not_fit_are_nothing() -> None:
    assert math.isnan(number("3"))
    assert math.isnan(number(True))
    assert math.isnan(number(10**400))
    assert math.isnan(number(math.inf))
    assert (count(-1), count(math.nan), count(3.9)) == (0, 0, 3)
    assert (text(None), text(True), text(False), text(0.25), text(7)) == ("", "true", "false", "0.25", "7")
    assert text("a\x1b[2J\u202eb") == "a\ufffd[2J\ufffdb"
    assert len(text("x" * 10_000)) == TEXT_LENGTH_MAX
    assert parsed("[" * 100_000) is None
    assert parsed("1" * 10_000) is None
    assert (written(None), written([1, None]), written(0.5)) == ("–", "[1, null]", "0.5")
    assert (sentence(3), sentence("y" * 9_000)) == ("", "y" * 4_000)


def test_thinning_keeps_an_even_choice_and_the_last() -> None:
    thinned: Thinned[int] = Thinned(8, 2)
    for time in range(101):
        for agent in ("a", "b", "c"):
            thinned.add(float(time), agent, time)
    kept = [at_s for at_s, _ in thinned.times()]
    assert kept[0] == 0
    assert kept[-1] == 100
    assert len(kept) <= 9
    steps = {after - before for before, after in itertools.pairwise(kept[:-1])}
    assert len(steps) == 1
    assert all(set(rows) == {"a", "b"} for _, rows in thinned.times())
    assert thinned.is_full


def test_time_that_begins_anew_goes_on() -> None:
    thinned: Thinned[str] = Thinned(99, 9)
    for at_s in (0.0, 1.0, 0.0, 2.0):
        thinned.add(at_s, "a", "")
    assert [at_s for at_s, _ in thinned.times()] == [0.0, 1.0, 1.0, 3.0]
    assert thinned.restarts == 1


# ---- a run


def test_a_whole_run_is_read() -> None:
    run = made.run()
    assert run.agents == NAMES
    assert [moment.at_s for moment in run.moments] == [0, 1, 2, 3, 4, 5]
    assert run.moments[2].agents["agent-1"]["training_loss"] == pytest.approx(1 / 3 + 0.01)
    assert math.isnan(run.moments[0].agents["agent-1"]["shared"])
    assert run.result is not None
    assert run.result.columns == {
        "local": "local",
        "local_all": "local all",
        "shared": "shared",
        "personal": "personal",
    }
    assert run.hypers.last["agent-2"]["bias"] == pytest.approx((0.3, -1.2))
    assert run.hypers.entries["bias"] == ("cat", "dog")
    assert not run.remarks
    assert run.end_s == 6.5, "of the last event"


def test_links_are_told_by_both_ends() -> None:
    seen = made.run().links
    states = {(link.source, link.target): link.state for link in seen.links}
    assert states["agent-0", "agent-1"] == "both"
    assert states["agent-1", "agent-0"] == "signs", "heard, but pushed is the other way"
    assert states["agent-2", "agent-0"] == "deaf", "pushed there, and the target does not hear"
    assert states["agent-0", "agent-2"] == "one-way"
    (loss,) = (link.loss for link in seen.links if (link.source, link.target) == ("agent-0", "agent-1"))
    assert loss == pytest.approx(0.2)
    told = links_sentence(seen)
    assert "1 of them one way only (agent-0 → agent-2)" in told
    assert "sent, but not heard: agent-2 → agent-0" in told


def test_one_agent_alone_tells_of_its_own_links() -> None:
    own = [row for row in made.links() if row["agent"] == "agent-0"]
    run = make_run("one", made.config(), None, Lines(links=made.as_lines(own)))
    states = {(link.source, link.target): link.state for link in run.links.links}
    assert states == {
        ("agent-0", "agent-1"): "both",
        ("agent-1", "agent-0"): "signs",
        ("agent-0", "agent-2"): "one-way",
        ("agent-2", "agent-0"): "deaf",
    }
    assert "Only agent-0 has told of its links here." in links_sentence(run.links)
    assert "hollow" not in links_sentence(run.links)


def test_what_is_damaged_is_left_out_and_told() -> None:
    half = '{"at_s": 1.0, "id": "agent-0"'
    run = make_run("one", {}, None, Lines([half], [half, "{}"], [half], [half, "[]"]))
    assert run.remarks[0].startswith("There are no results")
    told = " ".join(run.remarks)
    for name in (
        "metrics.jsonl: 1 line is",
        "events.jsonl: 2 lines are",
        "links.jsonl: 1",
        "hyperparameters.jsonl: 2",
    ):
        assert name in told
    assert not make_page([run]).figures


def test_what_begins_anew_counts_anew() -> None:
    """A process that came back: its clock, its counters of messages."""
    link = {"peer": "b", "hears": True}
    rows = [
        {"at_s": float(at_s), "agent": "a", "links": [link | {"received": received, "gaps": gaps}]}
        for at_s, received, gaps in ((1, 8, 2), (2, 5, 5), (3, 10, 5))
    ]
    rows.insert(1, {"at_s": 1.5, "agent": "a", "links": []})
    metrics = [{"at_s": at_s, "id": "a"} for at_s in (0.0, 5.0, 1.0)]
    run = make_run("one", {}, None, Lines(made.as_lines(metrics), (), made.as_lines(rows)))
    first, nothing, *later = run.links.loss["b", "a"]
    assert (first, later) == (0.2, [0.5, 0.0])
    assert math.isnan(nothing)
    assert "Time began anew 1 times in metrics.jsonl; here it goes on." in run.remarks


def test_long_tables_and_many_faults_are_cut_and_say_so() -> None:
    windows = [{"start_s": float(at_s), "end_s": at_s + 1.0, "faults": None} for at_s in range(200)]
    run = made.run(faults={"windows": windows})
    (figure,) = (one for one in make_page([run]).figures if one.key == "run0-happenings")
    assert "The first 16 of 200 faults are shown." in figure.sentence
    assert ("", "", "", "111 more are in events.jsonl") in figure.table.rows
    told = as_markdown(make_page([run, made.run("two")]))
    assert "more rows are on the page of HTML." in told
    assert "two:\n\n    hyperpush simulate" in told


def test_a_run_that_was_stopped_says_so() -> None:
    run = make_run("one", made.config(), made.result(interrupted=True), made.lines())
    assert "stopped before its end" in run.remarks[0]


def test_nothing_grows_without_bound() -> None:
    names = [f"agent-{index:04}" for index in range(AGENTS_MAX + 20)]
    rows = made.metrics(names, times=1)
    many = [{"at_s": 0.001 * index, "agent": "a", "event": "LinkDeaf", "peer": "b"} for index in range(1000)]
    kinds = [{"at_s": 0.0, "agent": "a", "event": f"kind {index}"} for index in range(2 * KINDS_MAX)]
    hypers = [
        {"at_s": 0.0, "agent": name, "ranges": {f"h{index}": {} for index in range(100)}} for name in names
    ]
    hypers.append({"at_s": 1.0, "agent": names[0], "ranges": {"another": {}}})
    run = make_run(
        "one",
        {},
        None,
        Lines(made.as_lines(rows), made.as_lines([*many, *kinds]), (), made.as_lines(hypers)),
    )
    assert len(run.moments[0].agents) == AGENTS_MAX
    assert any("first 256 agents" in remark for remark in run.remarks)
    assert sum(one.kind == "LinkDeaf" for one in run.happenings) == 2 * KIND_EVENTS_MAX
    assert run.happened["LinkDeaf"] == 1000
    assert len(run.happened) == KINDS_MAX
    assert len(run.hypers.ranges) == 64
    assert all(len(agents) == AGENTS_MAX for agents in run.hypers.ranges.values())
    long = make_run("one", {}, None, Lines(made.as_lines(made.metrics(("a", "b"), times=5 * TIMES_MAX))))
    assert len(long.moments) <= TIMES_MAX + 1
    assert long.moments[-1].at_s == 5 * TIMES_MAX - 1


KEYS = st.sampled_from(
    [
        *("at_s", "id", "agent", "event", "peer", "messages", "links", "values", "ranges", "bias", "hears"),
        *("faults", "windows", "drop", "agents", "accuracy", "personal", "local_all", "summary", "mean"),
        *(
            "hyperparameters",
            "given",
            "arguments",
            "until",
            "versions",
            "settings",
            "live",
            "columns",
            "what",
        ),
        *(
            "received",
            "gaps",
            "bytes_sent",
            "pushes_to",
            "heard_by",
            "start_s",
            "end_s",
            "sources",
            "comparison",
        ),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 10**400, 1e308, math.nan, math.inf]),
    st.floats(),
    st.sampled_from([*made.HOSTILE, *NAMES, "EpochEntered", "FaultsSet", "", "\x00", "x" * 500]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=24,
)
OBJECTS = st.dictionaries(KEYS, ANYTHING, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(OBJECTS, OBJECTS, st.lists(OBJECTS, max_size=6))
def test_any_directory_gives_a_page(config: Any, result: Any, rows: list[Any]) -> None:
    """Safety: whatever JSON the files hold, there is a page, and what is drawn is JSON."""
    lines = made.as_lines(rows)
    run = make_run("one", config, result, Lines(lines, lines, lines, lines))
    for page in (make_page([run]), make_page([run, made.run("two")])):
        assert all(made.is_plain(figure.picture) for figure in page.figures)
        assert as_markdown(page)
        script_json([figure.picture for figure in page.figures])


def test_a_plan_of_faults_that_is_none_makes_no_troubles() -> None:
    run = make_run("one", {**made.config(), "faults": {"drop": 7}}, made.result(), made.lines())
    assert troubles(run) == ("", [])


def test_a_model_of_links_is_named_in_the_report() -> None:
    faults = {"drop": 0.1, "model": "bursts:1s:3s"}
    run = make_run("one", {**made.config(), "faults": faults}, made.result(), made.lines())
    assert troubles(run)[0].endswith(", then bursts:1s:3s")


# ---- figures


def test_one_run_has_all_figures() -> None:
    figures = page_of(made.run())
    assert set(figures) == {
        *(
            "losses",
            "accuracies",
            "hypergradient",
            "residual",
            "bytes",
            "missing",
            "scores-accuracy",
            "traffic",
        ),
        *("run0-link-graph", "run0-link-loss", "run0-link-times", "moved", "run0-hyper-0", "run0-hyper-1"),
        *("run0-hyper-single", "run0-hyper-times", "run0-happenings"),
    }
    for figure in figures.values():
        assert figure.sentence.endswith(".")
        assert figure.table.rows, figure.key
        assert all(len(row) == len(figure.table.headings) for row in figure.table.rows), figure.key
        assert made.is_plain(figure.picture)


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_plotly_knows_all_that_is_drawn(palette: dict[str, Any]) -> None:
    """Its Python package checks every name and value; colours are put in as the page's script does."""
    from plotly.graph_objects import Figure as Plotly

    def themed(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: themed(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [themed(one, key) for one in value]
        is_colour = re.search("color(scale)?$", key) and isinstance(value, str) and value.startswith("theme:")
        return palette[value[6:]] if is_colour else value

    for figure in (*page_of(made.run()).values(), *page_of(made.run(), made.run("two")).values()):
        Plotly(themed(figure.picture))


def test_curves_say_what_became_of_the_numbers() -> None:
    figures = by_key(curves([made.run()]))
    assert "Validation from 2.010 to 0.343, training from 1.010 to 0.177." in figures["losses"].sentence
    assert figures["losses"].spark.startswith(SPARKS[-1])
    assert "to 15 kB" in figures["bytes"].sentence
    assert figures["missing"].sentence.startswith("From 20% to 20%.")
    several = by_key(curves([made.run("one"), made.run("two")]))
    assert "two: validation from" in several["losses"].sentence
    assert [trace["name"] for trace in several["residual"].picture["data"] if trace.get("name")] == [
        "one",
        "two",
    ]


def test_counters_that_begin_anew_are_added() -> None:
    def row(at_s: float, sent: int, received: int, gaps: int) -> dict[str, Any]:
        messages = {"bytes_sent": sent, "received": received, "gaps": gaps}
        return {"at_s": at_s, "id": "a", "messages": messages}

    rows = [row(0, 100, 8, 2), row(1, 200, 16, 4), row(2, 50, 5, 5)]
    run = make_run("one", {}, None, Lines(made.as_lines(rows)))
    assert sent_bytes(run).middle == (100, 200, 250)
    assert missing_share(run).middle == (0.2, 0.2, 0.5)


def test_many_agents_have_no_graph_but_a_matrix() -> None:
    names = [f"agent-{index:02}" for index in range(GRAPH_AGENTS_MAX + 1)]
    keys = [figure.key for figure in link_figures(made.run(names=names), "x-", "")]
    assert keys == ["x-link-loss", "x-link-times"]
    assert not link_figures(make_run("one", {}, None, Lines()), "x-", "")


def test_of_many_agents_those_that_gain_least_and_most_are_shown() -> None:
    names = [f"agent-{index:03}" for index in range(AGENTS_SHOWN_MAX + 10)]
    (figure,) = score_figures([made.run(names=names)])
    assert f"{AGENTS_SHOWN_MAX} of {len(names)} agents are shown" in figure.sentence
    assert len(figure.table.rows) == len(names)


@pytest.mark.parametrize(
    ("kind", "scores"), [("error", ("model", "adjoint")), ("loss", ("initial", "learned"))]
)
def test_other_kinds_of_scores_have_their_figure(kind: str, scores: tuple[str, str]) -> None:
    agents = [{"id": name, kind: {scores[0]: 0.5, scores[1]: 0.25}} for name in NAMES]
    run = make_run("one", made.config(), {"agents": agents}, Lines())
    (figure,) = score_figures([run])
    assert figure.key == f"scores-{kind}"
    expected = "The largest error is 5.0e-01" if kind == "error" else "3 of 3 agents are better off"
    assert figure.sentence.startswith(expected)


def test_class_weights_are_shown_as_weights() -> None:
    assert class_weight(0.0) == 1.0
    assert class_weight(1e9) == pytest.approx(10)
    assert class_weight(-1e9) == pytest.approx(0.1)
    figures = by_key(hyper_figures(made.run(), "x-", ""))
    assert figures["x-hyper-1"].sentence.startswith(
        "Weight of the class of every agent at the end. From ×0.82"
    )
    assert ("agent-0", "×2.36", "×1.00") in figures["x-hyper-1"].table.rows


def test_class_weights_mean_what_agents_do_with_them() -> None:
    """Against the personalization itself, up to the factor that normalises weights."""
    import torch

    from peer.personalization.class_weights import LOG_MAX

    scores = torch.tensor([-3.0, -0.5, 0.0, 0.7, 4.0], dtype=torch.float64)
    weights = (LOG_MAX * torch.tanh(scores / LOG_MAX)).exp()
    assert [class_weight(float(score)) for score in scores] == pytest.approx(weights.tolist())


# ---- tables and text


def test_differences_name_what_is_not_the_same() -> None:
    one, two = made.run("one"), made.run("two", settings={"tick_s": 0.05, "fanout": 3, "momentum": None})
    table = differences_table([one, two])
    assert table.headings == ("setting", "one", "two")
    assert table.rows == (("settings.fanout", "2", "3"),)
    assert not differences_table([one, one]).rows
    results = {row[0]: row[1:] for row in results_table([one, two]).rows}
    assert results["personal, mean over agents"] == ("0.800", "0.800 (+0.000)")
    assert results["messages missing"] == ("20%", "20%")


def test_the_command_is_quoted() -> None:
    assert command(made.run()) == "hyperpush simulate --agents 3 --task 'digits; rm -rf ~'"
    assert command(made.run(arguments=None)) == ""


def test_names_are_as_long_as_it_takes_to_tell_them_apart() -> None:
    paths = [("/", "a", "run"), ("/", "b", "run"), ("/", "other")]
    assert distinct_names(paths) == ["a/run", "b/run", "other"]
    assert distinct_names([("/", "a"), ("/", "a")]) == ["//a", "//a (2)"]


def test_numbers_for_people() -> None:
    assert [megabytes(value) for value in (12, 3400, 5.6e6, 7e9, math.nan)] == [
        *("12 bytes", "3.4 kB", "5.6 MB", "7 GB", "–")
    ]
    assert [seconds(value) for value in (1.5, 300, 9000, math.nan)] == ["1.5 s", "5 min", "2.5 h", "–"]
    assert [time_unit(value)[0] for value in (10, 1000, 1e5)] == ["seconds", "minutes", "hours"]
    assert sparkline([1.0, math.nan, 2.0]) == SPARKS[0] + SPARKS[-1]
    assert sparkline([3.0, 3.0]) == SPARKS[0] * 2
    assert sparkline([1.0]) == ""
    assert len(sparkline([float(index) for index in range(1000)])) == 40


# ---- hostile names


class Elements(HTMLParser):
    """What a browser would make of the page: elements with attributes, and the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._open = tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)


@pytest.fixture
def light_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without plotly.js, which a parser in Python takes a while for."""
    monkeypatch.setattr("peer.report.html.plotly_source", lambda: "// drawn elsewhere </script> <!--")


@pytest.mark.usefixtures("light_page")
@pytest.mark.parametrize("several", [False, True])
def test_hostile_names_stay_text(*, several: bool) -> None:
    hostile = made.run(f"run {made.HOSTILE[0]}", made.HOSTILE)
    runs = [hostile, made.run(f"run {made.HOSTILE[1]}", made.HOSTILE)] if several else [hostile]
    page = make_page(runs)
    elements = Elements()
    elements.feed(as_html(page))
    tags = [tag for tag, _ in elements.found]
    assert tags.count("script") == 3
    assert not {"img", "b", "iframe", "object", "link", "base"} & set(tags)
    assert {attributes["href"] for tag, attributes in elements.found if tag == "a"} == {
        f"#{section.key}" for section in page.sections
    }
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    shown = " ".join(elements.texts["th"])
    assert made.HOSTILE[0] in shown, "as text"
    data = json.loads(elements.texts["script"][0])
    assert set(data["figures"]) == {figure.key for figure in page.figures}
    drawn = json.dumps(data["figures"])
    assert "<img" not in drawn, "plotly takes markup in text"
    assert "<a " not in drawn


@pytest.mark.usefixtures("light_page")
def test_only_our_scripts_may_run() -> None:
    html = as_html(make_page([made.run()]))
    (policy,) = re.findall('Content-Security-Policy" content="([^"]*)"', html)
    assert "default-src &#39;none&#39;" in policy
    assert policy.count("sha256-") == 2
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", html), "nothing is fetched"


def test_json_in_a_script_cannot_end_it() -> None:
    content = {name: [name, "\u2028\u2029&<>"] for name in (*made.HOSTILE, "<!--")}
    found = script_json(content)
    assert not set(found) & set("<>&\u2028\u2029")
    assert json.loads(found) == content
    with pytest.raises(ValueError, match="not JSON compliant"):
        script_json([math.nan])


def test_markdown_stays_text() -> None:
    told = as_markdown(make_page([made.run("one", made.HOSTILE)]))
    assert "<" not in told.replace("&lt;", "")
    assert "](" not in told.replace("\\](", "")
    for line in told.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) >= 3
    assert escaped("- a") == "\\- a"
    assert escaped("1. a") == "1\\. a"
    assert escaped("a_b | c\nd") == "a\\_b \\| c d"
    assert escaped("www.evil.example http://x") == "www\\.evil.example http\\://x"
