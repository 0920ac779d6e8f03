"""Observables, metrics, figures and the report."""
