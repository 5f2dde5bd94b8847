"""Example pipelines.

Files:
    flights: predicts late arrivals of flights from New York.
    nycflights: reads the flights of 2013 as events and labels.
"""
