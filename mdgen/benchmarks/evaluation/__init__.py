"""The verdict of `mdgen evaluate` on dynamics whose law is known: false alarms, coverage and power."""
