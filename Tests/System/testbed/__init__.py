"""What the checks share: a server under test, clients of it, and the list of checks."""
