//! GitHub.com and GitHub Enterprise Server through octocrab.
