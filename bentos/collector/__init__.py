"""Behaviour comes back in: events over HTTP, durable before they are acknowledged, visible to the next answer."""
