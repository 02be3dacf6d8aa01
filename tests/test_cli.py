"""The command line, each command in a process of its own."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

SCRIPT = """\
import sys
import faultinject as fi

pointers = [fi.kmalloc(10) for _ in range(4)]
print([pointer is None for pointer in pointers], sys.argv[1:], __name__)
"""


def faultinject(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "faultinject", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def script(tmp_path: Path) -> str:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def test_run_arms_a_capability_and_passes_arguments_on(script: str) -> None:
    ran = faultinject("run", "--failslab", "interval=2,times=-1", "--", script, "a", "--b")

    assert ran.stdout == "[False, True, False, True] ['a', '--b'] __main__\n"
    assert "faultinject: 2 faults injected" in ran.stderr
    assert f"failslab of 16 bytes at {script}:4" in ran.stderr
    assert ran.returncode == 0


def test_run_takes_the_kernels_boot_string(script: str) -> None:
    ran = faultinject("run", "--failslab", "3,100,0,-1", "--", script)

    assert ran.stdout.startswith("[False, False, True, False]")


def test_run_without_knobs_fails_the_first_eligible_call(script: str) -> None:
    ran = faultinject("run", "--failslab", "--", script)

    assert ran.stdout.startswith("[True, False, False, False]")


def test_run_ends_as_the_script_does(tmp_path: Path) -> None:
    path = tmp_path / "exits.py"
    path.write_text("import sys; sys.exit(7)")

    assert faultinject("run", "--", str(path)).returncode == 7


def test_run_runs_a_module_with_m() -> None:
    ran = faultinject("run", "-m", "json.tool", "--", "--help")

    assert "usage" in ran.stdout
    assert ran.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--failslab", "interval=x"], "interval=x"),
        (["--failslab", "intervall=2"], "interval"),
        (["--fail-page-alloc", "min_order=-1"], "min_order"),
    ],
    ids=["no number", "no such knob", "no such order"],
)
def test_run_refuses_wrong_knobs_before_the_script_starts(
    script: str, arguments: list[str], said: str
) -> None:
    ran = faultinject("run", *arguments, "--", script)

    assert said in ran.stderr
    assert ran.stdout == ""
    assert ran.returncode == 2


def test_run_names_a_script_that_does_not_exist() -> None:
    ran = faultinject("run", "--", "nowhere.py")

    assert "no such script: 'nowhere.py'" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 2


def test_list_names_every_capability_with_its_gates_and_defaults() -> None:
    listed = faultinject("list").stdout

    assert "failslab (sizes in bytes): available" in listed
    assert "fail_page_alloc (sizes in pages): available" in listed
    assert "Default N; kernel Y." in listed


def report(**changes: object) -> str:
    trial = {
        "capability": "failslab",
        "site": {"file": "ring.py", "line": 41, "function": "Ring.open"},
        "hit": 2,
        "outcome": "leaked",
        "interpreter": None,
        "error": "MemoryError",
        "leaks": ["kmalloc of 8 bytes"],
        "replay": "1|failslab|ring.py|Ring.open+3.4|2|transient|t.py::test_x[a b]",
        "duration": 0.1,
        **changes,
    }
    tests = [{"nodeid": "t.py::test_x[a b]", "baseline": "passed", "sites": 1, "trials": [trial]}]
    return json.dumps(
        {"schema": 1, "faultinject": "0", "python": "3", "tests": tests, "summary": {}}
    )


def test_report_shows_every_bad_trial_and_its_replay_line(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text(report())

    shown = faultinject("report", str(path)).stdout

    assert "LEAKED      failslab at ring.py:41 in Ring.open, hit 2: MemoryError" in shown
    assert "left behind: kmalloc of 8 bytes" in shown
    assert "pytest --fail-alloc-replay='1|failslab|ring.py|Ring.open+3.4|2|transient" in shown
    assert "1 test, 1 call site, 1 trial: 1 leaked" in shown


def test_report_reads_standard_input_and_shows_good_trials_when_asked() -> None:
    good = report(outcome="recovered", leaks=[])

    assert "RECOVERED" not in faultinject("report", "-", stdin=good).stdout
    assert "RECOVERED" in faultinject("report", "--all", "-", stdin=good).stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "not a faultinject report"),
        ('{"schema": 2}', "another schema version: 2"),
        ('{"schema": 1}', "part missing"),
        (report(outcome="exploded"), "tests[0].trials[0].outcome"),
        (report(site={"file": "x"}), "tests[0].trials[0].site.line"),
        (report(hit="2"), "tests[0].trials[0].hit"),
    ],
    ids=["empty", "another document", "another version", "cut", "outcome", "site", "hit"],
)
def test_report_refuses_what_is_no_report_and_names_the_place(text: str, said: str) -> None:
    ran = faultinject("report", "-", stdin=text)

    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == 2


LOG = Path(__file__).parent / "klog" / "logs" / "2.6.32.txt"


def test_explain_says_why_each_request_of_a_log_failed() -> None:
    text = LOG.read_text()

    ran = faultinject("explain", str(LOG))

    assert "page allocation failure: imap, order 4" in ran.stdout
    assert "fragmentation" in ran.stdout
    assert "refused: below the watermark at order 0" in ran.stdout
    assert ran.returncode == 0
    assert faultinject("explain", stdin=text).stdout == ran.stdout
    assert "765 (3060 kB)" in faultinject("explain", "-v", stdin=text).stdout
    assert faultinject("explain", "-", stdin=text + text).stdout.count("imap asked for") == 2


def test_explain_takes_another_kernel_and_gives_json() -> None:
    ran = faultinject("explain", "--json", "--kernel=6.6", str(LOG))

    (told,) = json.loads(ran.stdout)["reports"]
    assert (told["rule"], told["consistent"]) == ("modern", False)
    assert faultinject("explain", "--kernel=six", str(LOG)).returncode == 2
    assert faultinject("explain", "--json", stdin="nothing here\n").returncode == 1


def test_explain_draws_the_free_blocks(tmp_path: Path) -> None:
    picture = tmp_path / "blocks.svg"

    ran = faultinject("explain", f"--svg={picture}", str(LOG))

    assert ran.stdout == faultinject("explain", str(LOG)).stdout
    svg = ET.fromstring(picture.read_text())
    names = {"svg": "http://www.w3.org/2000/svg"}
    texts = [text.text or "" for text in svg.findall("svg:text", names)]
    assert "line 1: node 0 DMA32, order 4 refused" in texts
    assert [text for text in texts if text.strip().startswith("0 ")][-1].split()[1] == "2360"
    bars = svg.findall("svg:rect", names)[1:]
    assert [bar.get("class") for bar in bars[-8:]] == ["small"] * 4 + ["bar"] * 4
    assert max(float(bar.get("width") or 0) for bar in bars) == 400
    assert faultinject("explain", "--svg=no/such/folder.svg", str(LOG)).returncode == 2


def test_explain_of_a_log_without_a_report_says_what_it_looked_for() -> None:
    ran = faultinject("explain", stdin="[ 1.0] all is well\n")

    assert (ran.returncode, ran.stdout) == (1, "")
    assert "page allocation failure: order:4" in ran.stderr
    missing = faultinject("explain", "no-such.log")
    assert (missing.returncode, "no-such.log" in missing.stderr) == (2, True)


@pytest.mark.skipif(not Path("/proc/buddyinfo").exists(), reason="this machine has no /proc")
def test_explain_now_tells_what_this_machine_would_meet() -> None:
    ran = faultinject("explain", "--now", "--kernel=6.6")

    assert ran.stderr == ""
    assert [line.split()[0] for line in ran.stdout.splitlines()[3:]] == [str(n) for n in range(11)]
    assert faultinject("explain", "--now", str(LOG)).returncode == 2


def test_no_command_and_an_unknown_command_are_usage_errors() -> None:
    assert faultinject().returncode == 2
    assert faultinject("inject").returncode == 2
    assert faultinject("--version").stdout.startswith("faultinject 0.")
