"""Journeys: real processes from end to end."""
