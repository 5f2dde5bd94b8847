"""Demo: two months of real flights, replayed through a real broker, watched and verified.

demo: starts broker and workers, replays the flights.
send_schedule: records to send, with some producers' mistakes, and the rate of sending.
collector: reads all output topics.
live_view: progress on the terminal.
demo_summary: summary, and verification that no event was lost or duplicated.
"""
