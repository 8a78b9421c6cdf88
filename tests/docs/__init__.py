"""What must be documented is, and what the docs show runs."""
