//! The runner inside the pod; speaks only the run API.
