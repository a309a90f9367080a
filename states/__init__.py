"""What an agent knows, and what happens in each of its states."""
