"""Reports: statistics, tables, curves and pictures."""
