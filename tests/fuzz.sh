#!/bin/sh
# tests/fuzz.sh SECONDS HARNESS...: each harness for that long from its corpus, two at a time; what is found goes to
# build/fuzz/found. Ends with a line that counts.
seconds=$1
shift
found=build/fuzz/found
mkdir -p "$found"
passed=0 failed=0

run()
{
	mkdir -p "build/fuzz/new/$1"
	dict=
	case $1 in fuzz_effects | fuzz_screen | fuzz_messages | fuzz_watch) [ -f fuzz/sql.dict ] && dict=-dict=fuzz/sql.dict ;; esac
	"build/fuzz/$1" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=10 -print_final_stats=1 $dict \
		-artifact_prefix="$found/$1-" "build/fuzz/new/$1" "fuzz/corpus/$1" >"build/fuzz/$1.log" 2>&1
}

result()
{
	if [ "$2" = 0 ]; then
		passed=$((passed + 1))
		echo "$1: $(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$1.log") inputs"
	else
		failed=$((failed + 1))
		echo "$1: FAILED"
		tail -n 60 "build/fuzz/$1.log"
	fi
}

while [ $# -gt 0 ]; do
	first=$1 second=${2:-}
	run "$first" &
	pid=$!
	if [ -n "$second" ]; then
		run "$second"
		code=$?
		result "$second" $code
		shift
	fi
	wait $pid
	result "$first" $?
	shift
done
echo "fuzz: $passed passed, $failed failed"
[ $failed = 0 ]
