"""The one public door: it parses a body once, says who answers, passes both on, and keeps count."""
