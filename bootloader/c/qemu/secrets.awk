# SPDX-License-Identifier: Apache-2.0
# Reads the lines of secrets.c and trace.c, prints a line for each subject, and
# fails if one is not as its own line says.

function judge(    found) {
	if (name == "")
		return
	subjects++
	found = counts > 1 || paths > 1 ? "instructions" : places > 1 ? "addresses" : "same"
	if (regions != runs)
		found = regions " of " runs " runs"
	printf "  %-22s %3d secrets  %9d instructions  %-12s %s\n", name, runs, least, found, found == want ? "" : "FAILED, want " want
	if (found != want)
		failed = 1
}

$1 == "subject" {
	judge()
	name = $2; runs = $3; want = $4
	regions = counts = paths = places = 0
	split("", count); split("", path); split("", place)
	next
}

$1 == "region" {
	regions++
	least = regions == 1 || $2 < least ? $2 : least
	if (!count[$2 " " $4]++) counts++
	if (!path[$3]++) paths++
	if (!place[$5]++) places++
	next
}

{
	print "  " $0
	failed = 1
}

END {
	judge()
	if (subjects == 0)
		failed = 1
	exit failed
}
