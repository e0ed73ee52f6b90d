"""What everything stands on: digits, networks and their files, the machine."""
