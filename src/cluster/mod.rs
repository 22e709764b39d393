//! The cluster port, the pure object builders and the Kubernetes adapter.
