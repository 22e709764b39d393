//! How a run's model calls go from the run API to a provider, what they cost, and what they
//! may use.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a provider's API is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ModelWire {
    /// The Responses API of `OpenAI`: `POST responses`, a bearer key.
    Responses,
    /// The Messages API of Anthropic: `POST v1/messages`, the key as `x-api-key`.
    Messages,
}

/// What of a provider's API a run may call, below its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelCall {
    /// A turn of the model: it costs tokens.
    Turn,
    /// Something that costs none: counting tokens, the list of models.
    Free,
}

impl ModelWire {
    /// What a path below the provider's address is; `None` where runs may not call it.
    pub fn call(self, path: &str) -> Option<ModelCall> {
        match (self, path) {
            (Self::Responses, "responses" | "responses/compact")
            | (Self::Messages, "v1/messages") => Some(ModelCall::Turn),
            (Self::Responses, "models")
            | (Self::Messages, "v1/messages/count_tokens" | "v1/models") => Some(ModelCall::Free),
            _ => None,
        }
    }
}

/// The provider, price and budget of a run's model calls, fixed at its launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelRoute {
    /// The provider's name, which is also that of its key.
    pub provider: String,
    /// What its API is like.
    pub wire: ModelWire,
    /// Its address; calls go to paths below it.
    pub url: String,
    /// What its model costs, where that is known.
    pub price: Option<Price>,
    /// Tokens that the run may use.
    pub tokens_per_run: Option<u64>,
    /// Tokens that the runs of its project may use together in a day (UTC).
    pub tokens_per_day: Option<u64>,
}

/// What a model costs for a million tokens, in the installation's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Price {
    /// Of what goes in.
    pub input: Amount,
    /// Of what goes in and was in the provider's cache.
    pub cached_input: Amount,
    /// Of what comes out.
    pub output: Amount,
}

/// Tokens of one call, as the provider counted them. What it does not tell is unknown, not zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// What went in, cached or not.
    pub input: Option<u64>,
    /// What of that was in the provider's cache.
    pub cached: Option<u64>,
    /// What came out, thoughts included.
    pub output: Option<u64>,
}

impl Usage {
    /// What the tokens cost, rounded up; `None` where input or output is unknown.
    pub fn cost(&self, price: &Price) -> Option<Amount> {
        let (input, output) = (self.input?, self.output?);
        let cached = self.cached.unwrap_or(0).min(input);
        let of = |tokens: u64, price: Amount| u128::from(tokens) * u128::from(price.0);
        let sum = of(input - cached, price.input)
            + of(cached, price.cached_input)
            + of(output, price.output);
        u64::try_from(sum.div_ceil(1_000_000)).ok().map(Amount)
    }
}

/// An amount of money in millionths, written as a decimal number: `1.25`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Amount(pub u64);

/// Why a text is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount; write it like \"1.25\", with at most six decimals")]
pub struct InvalidAmount(String);

/// The form of an amount, for the schema.
const PATTERN: &str = r"^[0-9]{1,9}(\.[0-9]{1,6})?$";
const DECIMALS: usize = 6;

impl FromStr for Amount {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = || InvalidAmount(text.to_owned());
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, most: usize| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 9) || !digits(part, DECIMALS) {
            return Err(invalid());
        }
        let number = format!("{whole}{part:0<DECIMALS$}");
        number.parse().map(Self).map_err(|_| invalid())
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let part = format!("{part:06}");
        match part.trim_end_matches('0') {
            "" => write!(f, "{whole}"),
            part => write!(f, "{whole}.{part}"),
        }
    }
}

impl TryFrom<String> for Amount {
    type Error = InvalidAmount;

    fn try_from(text: String) -> Result<Self, InvalidAmount> {
        text.parse()
    }
}

impl From<Amount> for String {
    fn from(amount: Amount) -> Self {
        amount.to_string()
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": PATTERN,
            "description": "An amount of money in the installation's currency, such as \"1.25\".",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_write_alike() {
        for (text, millionths) in [
            ("0", 0),
            ("1.25", 1_250_000),
            ("0.000001", 1),
            ("12", 12_000_000),
        ] {
            let amount: Amount = text.parse().unwrap();
            assert_eq!((amount.0, amount.to_string().as_str()), (millionths, text));
        }
        for text in ["", ".5", "1.", "-1", "1.2345678", "1,5", "1e3", "+1"] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cost_is_rounded_up_and_unknown_where_the_tokens_are() {
        let price = Price {
            input: "2".parse().unwrap(),
            cached_input: "0.5".parse().unwrap(),
            output: "10".parse().unwrap(),
        };
        let usage = Usage {
            input: Some(100),
            cached: Some(40),
            output: Some(7),
        };
        assert_eq!(usage.cost(&price), Some(Amount(60 * 2 + 20 + 70)));
        let one = Usage {
            input: Some(0),
            cached: Some(1),
            output: Some(0),
        };
        assert_eq!(one.cost(&price), Some(Amount(0)));
        assert_eq!(
            Usage {
                output: None,
                ..usage
            }
            .cost(&price),
            None
        );
    }

    #[test]
    fn only_known_paths_may_be_called() {
        assert_eq!(
            ModelWire::Responses.call("responses"),
            Some(ModelCall::Turn)
        );
        assert_eq!(
            ModelWire::Messages.call("v1/messages"),
            Some(ModelCall::Turn)
        );
        assert_eq!(ModelWire::Messages.call("v1/models"), Some(ModelCall::Free));
        for path in [
            "",
            "files",
            "v1/responses",
            "responses/../files",
            "v1/organizations",
        ] {
            assert_eq!(ModelWire::Responses.call(path), None, "{path}");
        }
    }
}
