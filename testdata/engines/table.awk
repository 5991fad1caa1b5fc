#!/usr/bin/awk -f
# Lines of engine, version, feature, runtime, result to a table.
BEGIN {
	FS = "\t"
	print "| engine | version | feature | airplant | crun | runc |"
	print "|---|---|---|---|---|---|"
}
{
	row = $1 FS $2 FS $3
	if (!(row in seen)) { seen[row] = 1; rows[++n] = row }
	result[row, $4] = $5
}
function cell(row, runtime) { return (row, runtime) in result ? result[row, runtime] : "-" }
END {
	for (i = 1; i <= n; i++) {
		split(rows[i], f, FS)
		printf "| %s | %s | %s | %s | %s | %s |\n", f[1], f[2], f[3],
			cell(rows[i], "airplant"), cell(rows[i], "crun"), cell(rows[i], "runc")
	}
}
