"""Kernel logs: what a page-allocation-failure report says, and why the request failed."""
