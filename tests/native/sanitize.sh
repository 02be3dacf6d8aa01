#!/usr/bin/env bash
# The C modules under AddressSanitizer and UndefinedBehaviorSanitizer: `make sanitize`.
#
# usage: sanitize.sh PYTHON [pytest's arguments]
#
# Builds them into a copy of the package under out/, never over those that are in use, and runs
# their tests there: once over malloc, where the sanitizer sees every block, and once over
# Python's own allocator, which has arenas and nests its requests. The second time the sweep of
# every site is left out: it takes longest, and differs only in blocks that the sanitizer then
# cannot see. Exit status 0 only if all tests pass and no sanitizer has said anything, in this
# process or in any child.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python="$(realpath -s "$1")"
shift

version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
suffix="$("$python" -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')"
include="$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')"
place="out/sanitize-$version"
rm -rf "$place"
mkdir -p "$place/tests" "$place/said"
cp -r pyproject.toml faultinject "$place"
cp -r tests/native tests/functions tests/vectors "$place/tests"
rm -f "$place"/faultinject/{native/_hook,functions/_call_hook}.*.so

# -O1 keeps the stacks of a report readable.
for module in native/_hook functions/_call_hook; do
  cc -std=c11 -Wall -Wextra -Werror -O1 -g -fno-omit-frame-pointer \
    -fsanitize=address,undefined -fno-sanitize-recover=undefined \
    -fPIC -fvisibility=hidden -fno-strict-aliasing -I"$include" -shared \
    -o "$place/faultinject/$module$suffix" "faultinject/${module%/*}"/*.c
done

cd "$place"
# Leaks: the interpreter leaves thousands of blocks to the system when it ends. Signals: what
# breaks inside CPython is the tests' own business, and they count it.
# The small quarantine and short stacks keep a fork cheap, of which the tests make a thousand.
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1"
ASAN_OPTIONS+=":handle_segv=0:handle_sigbus=0:handle_sigfpe=0:handle_sigill=0"
ASAN_OPTIONS+=":quarantine_size_mb=8:malloc_context_size=8:log_path=$PWD/said/asan"
export UBSAN_OPTIONS="print_stacktrace=1"
LD_PRELOAD="$(cc -print-file-name=libasan.so)"
failed=0
run() { # run ALLOCATOR PYTEST_ARGS...
  echo "::: Python $version, PYTHONMALLOC=$1"
  env LD_PRELOAD="$LD_PRELOAD" PYTHONMALLOC="$1" \
    "$python" -m pytest -q -s -p no:cacheprovider "${@:2}" tests/native 2>&1 |
    tee -a said/terminal || failed=1
}
run malloc tests/functions/test_{calls_in_sweeps,events,fail_function,imports}.py "$@"
run default --ignore=tests/native/test_native_replay.py "$@"
# The other sanitizer has no files of its own beside this one; -s lets what it says through.
grep -q "runtime error:" said/terminal && failed=1
for report in said/asan*; do
  [[ -e "$report" ]] || continue
  echo "::: $report"
  cat "$report"
  failed=1
done
exit "$failed"
