"""What the pages are filled with: plain functions from an installation to values. No page, no request, nothing written."""
