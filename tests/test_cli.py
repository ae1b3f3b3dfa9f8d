"""The command line, as a user calls it."""

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pandas as pd
import pytest

import stragglersim
from simulator.engine.events import NUMERICS

SCENARIO = """\
name: small
trials: 2
workers: 6
jobs: 5
stragglers:
  usual: {kind: shifted_exponential, shift: 1, mean: 0.5, adds_to: startup_s}
schemes:
  uncoded: {kind: uncoded}
  GC: {kind: gradient_coding, s: 2}
"""


@pytest.fixture
def call(tmp_path, cli):
    """Call the command line in a folder with a scenario; returns exit status, output, errors."""
    (tmp_path / "small.yaml").write_text(SCENARIO)
    return cli


def test_run_writes_tables_and_figures_and_says_what_came_out(call, tmp_path):
    status, out, err = call("run", "small.yaml", "--out", "here")
    assert status == 0
    assert "4 of 4 runs" in err
    for word in ("makespan s", "change", "jobs/s", "p95 s", "waits", "failed", "±", "GC", "+0.0 %", "here/plots"):
        assert word in out
    for row in pd.read_csv(tmp_path / "here/summary.csv").to_dict("records"):
        assert f"{row['makespan_s']:.5g} ± {row['makespan_high_s'] - row['makespan_s']:.3g} " in out
    names = {path.name for path in (tmp_path / "here").iterdir()}
    assert names == {
        "runs.parquet",
        "rounds.parquet",
        "jobs.parquet",
        "summary.csv",
        "scenario.yaml",
        "manifest.json",
        "parts",
        "plots",
    }
    assert {"makespan.png", "makespan.svg", "timeline.png"} <= {
        path.name for path in (tmp_path / "here/plots").iterdir()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "small.yaml"]


def test_run_takes_overrides_and_details(call, tmp_path):
    assert call("run", "small.yaml", "--set", "jobs=3", "--set", "schemes.GC.s=1", "--detail", "workers")[0] == 0
    workers = pd.read_parquet(tmp_path / "results/small/workers.parquet")
    assert workers["round"].max() == 2
    manifest = json.loads((tmp_path / "results/small/manifest.json").read_text())
    assert manifest["engine"] == "auto"
    assert call("run", "small.yaml", "--detail", "runs", "--out", "brief", "--engine", "auto")[0] == 0
    assert not (tmp_path / "brief/rounds.parquet").exists()


def test_results_are_forgotten_only_with_force(call, tmp_path):
    assert call("run", "small.yaml")[0] == 0
    parts = tmp_path / "results/small/parts"
    first = set(parts.iterdir())
    status, _, err = call("run", "small.yaml", "--detail", "runs")  # other work: the parts of both stay
    assert status == 0
    assert "were there already" not in err
    assert first < set(parts.iterdir())
    assert not (tmp_path / "results/small/rounds.parquet").exists()
    assert "4 of 4 runs were there already" in call("run", "small.yaml")[2]
    status, _, err = call("run", "small.yaml", "--force", "--set", "seed=1")
    assert (status, "were there already" in err) == (0, False)
    assert not first & set(parts.iterdir())


def test_a_folder_that_no_run_has_written_is_left_alone(call, tmp_path):
    for force in ((), ("--force",)):
        status, _, err = call("run", "small.yaml", "--out", ".", *force)
        assert (status, err.count("\n")) == (2, 1)
        assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]
        assert (tmp_path / "small.yaml").read_text() == SCENARIO
    stragglersim.run(stragglersim.load(tmp_path / "small.yaml")).save(tmp_path / "saved")
    status, _, err = call("run", "small.yaml", "--out", "saved")  # without parts there is nothing to go on with
    assert (status, "saved: must not exist yet (--force" in err) == (2, True)
    assert call("run", "small.yaml", "--out", "saved", "--force")[0] == 0


def test_a_sweep_prints_a_table_for_each_point(call):
    (status, out, _) = call("run", "small.yaml", "--set", "sweep={jobs: [2, 3]}")
    assert status == 0
    assert "small: jobs = 2" in out
    assert "small: jobs = 3" in out


def test_sweep_options_vary_a_scenario_and_what_they_shadow_is_told(call, tmp_path):
    options = ("--sweep", "jobs=2:4:3", "--sweep", "schemes.GC.s=1,2", "--set", "jobs=7")
    status, out, err = call("validate", "small.yaml", *options)
    assert (status, out) == (
        0,
        "small.yaml: fine: 6 points, 2 schemes, 2 trials, 24 runs of 2 to 4 jobs on 6 workers\n",
    )
    assert err == (
        "small.yaml: warning: --set jobs: changes nothing: shadowed by the sweep, which sets jobs at every point\n"
    )
    assert call("run", "small.yaml", *options, "--out", "here")[0] == 0
    runs = pd.read_parquet(tmp_path / "here/runs.parquet")
    assert runs.groupby("point")[["jobs", "schemes.GC.s"]].first().to_numpy().tolist() == [
        [jobs, s] for jobs in (2, 3, 4) for s in (1, 2)
    ]
    status, out, err = call("plot", "here", "--x", "jobs", "--y", "overhead", "--by", "scheme", "--where", "scheme=GC")
    assert (status, err) == (0, "")
    assert out == "Figures  here/plots/ (overhead-over-jobs-where-scheme-GC: PNG and SVG)\n"
    assert (tmp_path / "here/plots/overhead-over-jobs-where-scheme-GC.svg").exists()
    for wrong in (("--x", "nope"), ("--x", "jobs", "--where", "jobs"), ("--x", "jobs", "--where", "jobs=9")):
        status, out, err = call("plot", "here", *wrong)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_explain_shows_each_scheme_of_a_sweep_once(call):
    out = call("explain", "small.yaml", "--sweep", "schemes.GC.s=1,2", "--sweep", "trials=1,2")[1]
    rows = [line.split()[:5] for line in out.splitlines() if line.startswith((" GC", "GC", " uncoded", "uncoded"))]
    assert [row[0] for row in rows] == ["uncoded", "GC", "GC"]
    assert [row[1:5] for row in rows[1:]] == [["s", "=", "1", "0.333333"], ["s", "=", "2", "0.5"]]


def test_explain_says_a_pattern_once_and_puts_the_points_of_a_scheme_together(call):
    out = call("explain", "small.yaml", "--sweep", "workers=6,9,12")[1]
    rows = [line.split() for line in out.splitlines() if line.startswith((" GC", " uncoded"))]
    assert [row[0] for row in rows] == ["uncoded"] * 3 + ["GC"] * 3
    assert [row[-1] for row in rows] == ["straggler", '"', '"', "round", '"', '"']
    out = call("explain", "small.yaml", "--sweep", "trials=2,3")[1]
    assert (" at " in out, out.count("no straggler")) == (False, 1)


def test_validate_says_the_ranges_of_a_sweep(call):
    sweeps = ("--sweep", "jobs=1,5,80", "--sweep", "workers=6,12", "--sweep", "trials=1,3")
    out = call("validate", "small.yaml", *sweeps)[1]
    assert out == (
        "small.yaml: fine: 12 points, 2 schemes, 1 to 3 trials, 48 runs of 1 to 80 jobs on 6 to 12 workers\n"
    )
    assert call("validate", "small.yaml", "--set", "jobs=1")[1].endswith("4 runs of 1 job on 6 workers\n")


def test_the_manifest_says_what_made_the_numbers(call, tmp_path):
    rows = "".join(f"{number},{worker},1.5\n" for number in range(9) for worker in range(6))
    (tmp_path / "times.csv").write_text(f"round,worker,duration_s\n{rows}")
    given = "stragglers.usual={kind: trace, path: times.csv, mode: bootstrap, block_rounds: 3}"
    assert call("run", "small.yaml", "--out", "here", "--set", given)[0] == 0
    manifest = json.loads((tmp_path / "here/manifest.json").read_text())
    assert manifest["command"] == f"stragglersim run small.yaml --out here --set '{given}'"
    files = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("small.yaml", "times.csv")}
    assert manifest["inputs"] == {"small.yaml": files["small.yaml"], str(tmp_path / "times.csv"): files["times.csv"]}
    assert (manifest["platform"], manifest["python"]) == (platform.platform(), platform.python_version())
    assert manifest["versions"] == {name: version(name) for name in manifest["versions"]}
    assert {"stragglersim", "numpy", "scipy", "simpy", "pandas", "pyarrow"} <= set(manifest["versions"])
    assert (manifest["engine"], manifest["checked"]["runs"], manifest["numerics"]) == ("auto", 4, NUMERICS)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "small.yaml", "--set", "schemes.GC.s=9"), "--set schemes.GC.s: must be between 0 and 5, got 9"),
        (("run", "nowhere.yaml"), "nowhere.yaml: must be a readable YAML file"),
        (("validate", "small.yaml", "--set", "jbos=1"), "--set jbos: is not a key of a scenario"),
        (
            ("run", "small.yaml", "--sweep", "schemes.GC.s=1,9"),
            "--sweep schemes.GC.s: at schemes.GC.s = 9: schem",
        ),
        (
            ("explain", "small.yaml", "--sweep", "jobs=1:2"),
            "--sweep jobs: must be values separated by commas",
        ),
        (("plot", "nowhere", "--y", "makespan_s"), "plot: --y, --by and --where must go with --x, got none"),
        (("plot", "nowhere"), "nowhere: must be a folder that a run has written"),
        (("examples", "nothing"), "examples: 'nothing' is not one of"),
        (("run", "small.yaml", "--nope"), "stragglersim: No such option"),
        (("list", "cats"), "stragglersim: Invalid value"),
        (("run",), "stragglersim: Missing argument"),
        (("fly",), "stragglersim: No such command"),
        (("run", "small.yaml", "--set", "stragglers.usual.shift=1e400"), "must be a number of at least 0"),
    ],
)
def test_wrong_input_is_one_line_and_exit_status_2_and_nothing_is_written(call, tmp_path, arguments, line):
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


def test_a_run_that_cannot_go_on_is_one_line_and_leaves_nothing(call, tmp_path):
    (tmp_path / "times.csv").write_text("round,worker,duration_s\n" + "".join(f"0,{w},0.1\n" for w in range(6)))
    trace = "stragglers={t: {kind: trace, path: times.csv, wrap: cycle, base_load: 1, seconds_per_load: 1}}"
    status, _, err = call("run", "small.yaml", "--set", trace, "--set", "trials=1")
    assert status == 2
    assert err.startswith("schemes.uncoded, trial 0: round 0, worker 0: completion times must be at least 0 s")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml", "times.csv"]


def test_validate_counts_the_runs(call):
    assert call("validate", "small.yaml")[1] == (
        "small.yaml: fine: 2 schemes, 2 trials, 4 runs of 5 jobs on 6 workers\n"
    )


def test_list_shows_parameters_ranges_and_meaning(call):
    out = call("list", "schemes")[1]
    assert re.search(r"gradient_coding .*\n(?: .*\n)* +s +an integer of at least 0 +stragglers tolerated", out)
    assert "n_workers" not in out
    out = call("list", "models")[1]
    assert re.search(r"p_recover.*a number between 0 and 1", out)
    last = [re.split(" {2,}", line.strip())[-1] for line in out.splitlines()[3:]]
    assert max(map(len, last)) > 40  # piped as here, meanings are not broken after every other word
    out = call("list", "workloads")[1]
    assert re.search(r"least_squares .*\n(?: .*\n)* +seed +an integer of at least 0 +seed of the data", out)


def test_explain_shows_load_t_bound_and_reports(call):
    out = call("explain", "small.yaml")[1]
    row = next(line.split() for line in out.splitlines() if line.strip().startswith("GC"))
    assert row[:7] == ["GC", "0.5", "3x", "0", "0.25", "2", "1"]
    assert "any 2 stragglers in every round" in out


def test_explain_and_summary_show_mean_and_largest_load_where_workers_have_unequal_ones(call, tmp_path):
    # 3 chunks: worker 0 holds all, 1 holds two, 2 holds one
    (tmp_path / "held.csv").write_text("worker,chunk\n0,0\n0,1\n0,2\n1,0\n1,1\n2,2\n")
    held = "{kind: partial_gradient_coding, assignment: {kind: file, path: held.csv}}"
    changes = ("--set", "workers=3", "--set", f"schemes={{uncoded: {{kind: uncoded}}, unequal: {held}}}")
    for command in (("explain", "small.yaml"), ("run", "small.yaml", "--out", "out")):
        rows = {line.split()[0]: line for line in call(*command, *changes)[1].splitlines() if line.strip()}
        assert re.match(r" *unequal +mean 0.66667, largest 1 ", rows["unequal"].replace("0.666667", "0.66667"))
        assert re.match(r" *uncoded +0.3333\d* ", rows["uncoded"])
    runs = stragglersim.Results.load(tmp_path / "out").runs.groupby("scheme").first()
    assert runs.loc["unequal", ["mean_load", "load"]].tolist() == pytest.approx([2 / 3, 1])


def test_explain_tells_the_credits_apart(call):
    partial = "{kind: partial_gradient_coding, assignment: {kind: cyclic, chunks_per_worker: 3}, blocks: 2, credit: %s}"
    multiplexed = "{kind: multiplexed, B: 1, W: 3, lam: 2, credit: %s}"
    credits_ = ("prefix", "whole_list")
    schemes = [f"{kind[7:10]} {credit}: {kind % credit}" for kind in (partial, multiplexed) for credit in credits_]
    status, out, err = call("explain", "small.yaml", "--set", f"schemes={{{', '.join(schemes)}}}")
    assert (status, err) == (0, "")
    lines = {" ".join(line.split()[:2]): line for line in out.splitlines()}
    reports = {label: lines[label].split()[7] for label in lines if label.endswith(credits_)}
    assert reports == {"par prefix": "3", "par whole_list": "1", "mul prefix": "3", "mul whole_list": "1"}
    assert "any one failed worker in" in lines["par prefix"]
    assert "any one straggler in every" in lines["par whole_list"]


def test_explain_says_one_straggler_and_one_round_in_the_singular_and_each_pattern_once(call):
    kinds = ["gradient_coding, s: 1", "fractional_repetition, s: 1", "dynamic_clusters, clusters: 2, r: 2"]
    kinds += ["fastest_k, k: 5", "k_async, k: 5", "nested_gradient_coding, s_max: 1", "gradient_coding, s: 0"]
    kinds += [f"{kind}, B: 1, W: 2, lam: {lam}" for kind in ("selective_repeat", "multiplexed") for lam in (0, 1, 2)]
    schemes = ", ".join(f"{label}: {{kind: {kind}}}" for label, kind in zip("abcdefghijklm", kinds, strict=True))
    status, out, err = call("explain", "small.yaml", "--set", f"schemes={{{schemes}}}")
    assert (status, err) == (0, "")
    assert re.findall(r"\(s\)|\b1 (?:\w+ )?(?:stragglers|rounds|workers)", out) == []
    assert "any one straggler in every round" in out
    said = " ".join(line[70:].strip() for line in out.partition(" m ")[2].splitlines())
    assert (
        said.strip() == "in any 2 rounds at most 2 distinct stragglers, each in one round"
    )  # bursty, arbitrary: equal


def test_plot_draws_again(call, tmp_path):
    call("run", "small.yaml", "--out", "here")
    shutil.rmtree(tmp_path / "here/plots")
    assert call("plot", "here")[0] == 0
    assert (tmp_path / "here/plots/makespan.png").exists()


def test_examples_are_listed_copied_and_run(call, tmp_path):
    assert "quickstart" in call("examples")[1]
    assert call("examples", "quickstart")[0] == 0
    assert call("validate", "quickstart.yaml")[0] == 0
    status, _, err = call("examples", "quickstart")
    assert (status, err.count("\n")) == (2, 1)


def test_schema_is_json(call):
    schema = json.loads(call("schema")[1])
    assert "stragglers" in schema["properties"]
    plugins = [each for each in schema["$defs"].values() if "kind" in each.get("properties", {})]
    assert len(plugins) > 30
    for plugin in plugins:
        parameters = {name: about for name, about in plugin["properties"].items() if name not in ("kind", "master")}
        assert all(about.get("description") for about in parameters.values()), plugin["title"]


def test_help_has_an_example_for_each_command(call):
    commands = ["run", "validate", "list", "explain", "plot", "compare", "schema", "examples"]
    out = call("--help")[1]
    for command in commands:
        assert command in out
        assert f"Example: stragglersim {command}" in call(command, "--help")[1]


def test_it_is_also_python_m_simulator(tmp_path):
    done = subprocess.run([sys.executable, "-m", "simulator", "examples"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert "quickstart" in done.stdout


def test_help_imports_nothing_heavy():
    """What makes `--help` quick: no numpy, pandas, matplotlib, scipy, pyarrow, pydantic or simpy."""
    code = (
        "import sys; from simulator.cli.app import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'numpy', 'pandas', 'matplotlib', 'scipy', 'pyarrow', 'pydantic', 'simpy'} & set(sys.modules)\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


def test_an_interrupted_run_leaves_nothing_that_looks_complete(tmp_path):
    (tmp_path / "long.yaml").write_text(SCENARIO.replace("jobs: 5", "jobs: 1000000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "run", "long.yaml", "--out", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    while process.poll() is None and not (tmp_path / "out/parts").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.endswith("stopped; nothing was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["long.yaml"]


def test_ctrl_c_ends_in_the_same_exit_status_wherever_it_comes(tmp_path):
    # as in the functions that dataclasses and named tuples are made of, while modules are imported
    (tmp_path / "simpy.py").write_text("exec('import os, signal; os.kill(os.getpid(), signal.SIGINT)')\n")
    (tmp_path / "small.yaml").write_text(SCENARIO)
    command = [sys.executable, "-m", "simulator", "run", "small.yaml", "--executor", "serial"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "stopped; nothing was written\n")


def test_where_all_jobs_fail_nothing_is_printed_as_nan(call):
    status, out, _ = call(
        "run", "small.yaml", "--set", "master={kind: first_enough, timeout_s: 0.001}", "--out", "none"
    )
    compared = call("compare", "none")[1]
    assert (status, "nan" in out + compared) == (0, False)
    assert ", 100]" in compared
    assert "-0" not in call("compare", "none", "--metric", "jobs_per_s")[1]
