"""Detectors of alarms: cases by hand, restarts, false alarms and finds."""
