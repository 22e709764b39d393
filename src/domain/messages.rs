//! The message catalogue: every text that people read at the forge, per locale.
