"""The command line, each command in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest

from faultinject.native import core

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


PLAIN = """\
import json
import sys


def work(path):
    rows = [str(number) * 3 for number in range(100)]
    with open(path, "w") as file:
        json.dump(rows, file)


if __name__ == "__main__":
    try:
        work(sys.argv[1])
    finally:
        print("worked")
"""


@pytest.fixture
def plain(tmp_path: Path) -> str:
    path = tmp_path / "plain.py"
    path.write_text(PLAIN)
    return str(path)


@pytest.mark.skipif(core.why_unavailable() is not None, reason="no hook")
@pytest.mark.parametrize("knobs", ["nth=60", "small,interval=60", "interval=60,times=-1"])
def test_real_allocations_fail_in_the_script_and_its_traceback_begins_there(
    plain: str, knobs: str
) -> None:
    ran = faultinject("run", "--fail-pymem", knobs, "--", plain, "out.json")

    assert ran.stdout == "worked\n"
    assert ran.stderr.startswith(f'Traceback (most recent call last):\n  File "{plain}", line 13')
    assert "MemoryError\nfaultinject: " in ran.stderr
    assert f" bytes at {plain}:6 in work" in ran.stderr
    assert ran.returncode == 1


@pytest.mark.skipif(core.why_unavailable() is not None, reason="no hook")
def test_real_allocations_of_others_fail_where_they_are_required(plain: str) -> None:
    knobs = "require=json.encoder,times=1"

    ran = faultinject("run", "--fail-pymem", knobs, "--", plain, os.devnull)

    assert "json/encoder.py:" in ran.stderr.rpartition("faultinject: 1 fault injected")[2]


@pytest.mark.parametrize("knobs", ["target=disk", "disk", "open:EACCES", "disk,nth=1"])
def test_calls_fail_in_the_script_and_not_in_what_imports_its_modules(
    plain: str, tmp_path: Path, knobs: str
) -> None:
    ran = faultinject("run", "--fail-function", knobs, "--", plain, str(tmp_path / "out.json"))

    assert "faultinject: 1 fault injected\n" in ran.stderr
    assert "fail_function of open: OSError(E" in ran.stderr
    assert f" at {plain}:7 in work" in ran.stderr
    assert ran.returncode == 1


def test_a_folder_and_an_archive_run_as_their_main_module(tmp_path: Path) -> None:
    (tmp_path / "near.py").write_text("WORD = 'near'\n")
    (tmp_path / "__main__.py").write_text("import near, sys; print(near.WORD, sys.argv[1:])\n")
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.write(tmp_path / "near.py", "near.py")
        archive.write(tmp_path / "__main__.py", "__main__.py")

    for place in (tmp_path, tmp_path / "made.zip"):
        assert faultinject("run", "--", str(place), "a").stdout == "near ['a']\n"


def test_an_error_of_faultinjects_own_that_the_script_meets_is_the_scripts(tmp_path: Path) -> None:
    path = tmp_path / "frees.py"
    path.write_text("import faultinject as fi\np = fi.kmalloc(8)\nfi.kfree(p)\nfi.kfree(p)\n")

    ran = faultinject("run", "--", str(path))

    assert ran.stderr.startswith(f'Traceback (most recent call last):\n  File "{path}", line 4')
    assert "[double-free]\nfaultinject: 0 faults injected\n" in ran.stderr
    assert ran.returncode == 1


def test_a_script_that_cannot_be_compiled_is_told_of_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "cut.py"
    path.write_text("x = (\n")

    ran = faultinject("run", "--", str(path))

    assert ran.stderr.startswith(f'  File "{path}", line 1\n')
    assert ran.returncode == 1


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupt_ends_the_process_as_it_ends_python(tmp_path: Path) -> None:
    path = tmp_path / "interrupted.py"
    path.write_text(
        "import os, signal\n"
        # What a shell runs in the background was told to ignore it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.pause()\n"
    )

    ran = faultinject("run", "--", str(path))

    assert ran.stderr.count("KeyboardInterrupt") == 1
    assert ran.returncode == -signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--failslab", "{script}"], "[-m] -- SCRIPT [ARG ...]\n"),
        (["--failslab", "{script}", "4"], "Write -- in front of the script: --failslab -- "),
        (["--failslab", "-m", "--", "no_such_mod"], "no such module: 'no_such_mod'"),
        (["--failslab", "-m", "--", "json.no_such"], "no such module: 'json.no_such'"),
        (["-m", "--", "json"], "a package without __main__: 'json'"),
        (["--", "{folder}"], "a folder without __main__.py"),
        (["--fail-function", "dsk", "--", "{script}"], "Perhaps disk is meant"),
    ],
    ids=["no --", "no --, argument", "module", "submodule", "package", "folder", "misspelt"],
)
def test_run_says_what_is_wrong_with_its_own_command_line(
    script: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    places = {"script": script, "folder": str(tmp_path)}

    ran = faultinject("run", *(each.format(**places) for each in arguments))

    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (ran.stdout, ran.returncode) == ("", 2)


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


def test_report_tells_trials_of_one_line_apart(tmp_path: Path) -> None:
    document = json.loads(report())
    (test,) = document["tests"]
    column = test["trials"][0]["replay"].replace("+3.4|", "+3.19|")
    test["trials"].append({**test["trials"][0], "replay": column})
    path = tmp_path / "out.json"
    path.write_text(json.dumps(document))

    shown = faultinject("report", "-a", str(path)).stdout

    assert "in Ring.open, hit 2, column 5: MemoryError" in shown
    assert "in Ring.open, hit 2, column 20: MemoryError" in shown


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
