"""What can be said about a machine before it runs: findings, each with its place and the shortest way to it."""
