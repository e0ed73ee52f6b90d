"""Studies: many networks in one table, and what the table says."""
