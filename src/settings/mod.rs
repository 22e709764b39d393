//! Process settings: file, then environment, validated.
