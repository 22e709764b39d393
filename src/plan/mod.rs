//! The planner: from desired and observed to actions and a report. Pure.
