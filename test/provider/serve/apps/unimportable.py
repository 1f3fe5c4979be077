import weights_that_nobody_installed  # noqa: F401
