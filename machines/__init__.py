"""What an agent may do: one Machine a file, its edges as a table."""
