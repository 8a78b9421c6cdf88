"""What is remembered: the tables, one file per noun. No rules here; those are in `services/` and `queue/`."""
