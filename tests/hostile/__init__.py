"""Strangers and tenants who mean harm: nobody can hurt the others."""
