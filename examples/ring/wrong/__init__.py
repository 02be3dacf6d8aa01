"""The same drivers with planted bugs. Do not copy from here."""
