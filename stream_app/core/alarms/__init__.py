"""Detectors of alarms: evidence against "all is as it was", with a stated number of false alarms.

`docs/alarms.md` has the formulas. The state of each detector is a function of what it was given, in
that order; `state` returns it as plain data, and `restore` takes it back.

- `stream_monitor`: windows and alarms of a pipeline.
- `alarm_monitor`: all detectors; `raised_alarm` has the life of an alarm.
- `alarm_record`: an alarm as it is written; `alarm_log` has also acknowledgements and silences.
- `alarm_budget`: false alarms per year, divided over kinds and detectors.
- `evidence`: sums of bets, the time since which they win, and what a detector finds.
- `tempering`: how much the bets are reduced because days differ more than chance lets them.
- `label_feed`: labels in the order of their times; offsets to go back to.
- `label_sources`: detectors of labels by source.
- `label_detector`: all detectors of the labels of one source, behind the feed.
- `flip_check`: what detectors of flipped labels have in common.
- `flip_detector`: flipped labels of binary predictions; `flip_null` is what it bets against.
- `class_flips`, `number_flips`: the same for classes and numbers.
- `positive_share`: share of positive labels per day against the mean served probability.
- `input_drift`: features, missing and unseen values per window; `rank_bets` bets on one of them.
- `hour_counts`: events and labels by hour.
- `count_bets`: bets on counts; `volume` and `coverage` per hour, `week_hours` the hours of a zone.
"""
