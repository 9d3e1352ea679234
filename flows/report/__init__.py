"""The report a person wants: one HTML page per decision or benchmark, that needs nothing but itself."""
