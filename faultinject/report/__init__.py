"""Reports: one result record, told in several forms."""
