//! `codex-k8s schema`: prints what config documents look like.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, builder::PossibleValuesParser};

use crate::desired::model::{
    Kind,
    schema::{any_document_schema, document_schema},
};

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Print the schema of one kind; without it one schema that accepts any
    #[arg(long, value_parser = PossibleValuesParser::new(Kind::ALL.iter().map(|kind| kind.name())))]
    pub kind: Option<String>,
}

/// Prints a schema.
///
/// *Errors*: it cannot be written.
pub fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let schema = match &args.kind {
        None => any_document_schema(),
        Some(name) => document_schema(name.parse().with_context(|| format!("find kind {name}"))?),
    };
    let text = serde_json::to_string_pretty(&schema).context("write the schema")?;
    writeln!(io::stdout(), "{text}").context("write the schema")?;
    Ok(ExitCode::SUCCESS)
}
