"""The process that makes what runs here equal to the release table, and judges challengers: `python -m flows.supervisor`."""
