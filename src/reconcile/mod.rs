//! The loop: what wakes a pass, the lease, and what a pass is made of.
