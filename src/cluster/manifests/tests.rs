//! Properties of the builders, and one whole run as a snapshot.
