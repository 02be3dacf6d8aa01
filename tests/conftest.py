"""What every test may use: pytest's own driver for tests of plugins."""

pytest_plugins = ["pytester"]
