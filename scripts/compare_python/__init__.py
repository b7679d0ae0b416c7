"""maitred against the servers that Python applications run on today; see scripts/compare-python."""
