"""The front of house: command line, configuration, running stages on Ray, ledger, report."""

__version__ = "0.1.0"
