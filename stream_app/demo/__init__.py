"""Demo: two months of real flights, replayed through a real broker, watched and verified.

demo: starts broker and workers, replays the flights with some producers' mistakes.
collector: reads all output topics.
demo_summary: progress on the terminal, summary, verification that no event was lost or duplicated.
"""
