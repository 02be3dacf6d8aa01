"""A failure of a real server, reproduced from its log. README.md tells the story."""
