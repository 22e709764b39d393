//! HTTP: the run API, the staff API, health and metrics, and the webhook accelerator.
