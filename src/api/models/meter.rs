//! Counting tokens: what a provider says of them in its answer, streamed or whole.

use http::{HeaderMap, header};
use serde_json::Value;

use crate::domain::model_route::{ModelWire, Usage};

/// The longest event or answer that is looked into; of a longer one nothing is known.
const MAX_LOOK_BYTES: usize = 32 * 1024 * 1024;

/// Listens to an answer for its tokens.
pub(super) struct Meter {
    wire: ModelWire,
    /// Whether the answer is a stream of events.
    events: bool,
    /// The line or the answer so far.
    open: Vec<u8>,
    too_long: bool,
    usage: Usage,
}

impl Meter {
    /// For an answer of this kind.
    pub(super) fn new(wire: ModelWire, headers: &HeaderMap) -> Self {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|value| value.to_str().ok());
        Self {
            wire,
            events: kind.is_some_and(|kind| kind.starts_with("text/event-stream")),
            open: Vec::new(),
            too_long: false,
            usage: Usage::default(),
        }
    }

    /// Takes a piece of it.
    pub(super) fn take(&mut self, piece: &[u8]) {
        if !self.events {
            self.keep(piece);
            return;
        }
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            self.line();
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// What it said at its end.
    pub(super) fn usage(mut self) -> Usage {
        if self.events {
            self.line();
        } else if !self.too_long {
            let answer = std::mem::take(&mut self.open);
            self.look(&answer);
        }
        self.usage
    }

    fn keep(&mut self, piece: &[u8]) {
        self.too_long |= self.open.len() + piece.len() > MAX_LOOK_BYTES;
        if self.too_long {
            self.open.clear();
        } else {
            self.open.extend_from_slice(piece);
        }
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.open);
        let too_long = std::mem::take(&mut self.too_long);
        let Some(data) = line.strip_prefix(b"data:").filter(|_| !too_long) else {
            return;
        };
        // Few events tell tokens; the others are not worth a look inside.
        let tells = data.windows(7).any(|word| word == b"\"usage\"");
        if tells {
            self.look(data);
        }
    }

    fn look(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else {
            return;
        };
        let inner = match self.wire {
            ModelWire::Responses => "response",
            ModelWire::Messages => "message",
        };
        let usage = value
            .get("usage")
            .or_else(|| value.get(inner)?.get("usage"));
        if let Some(usage) = usage {
            self.add(usage);
        }
    }

    /// What is told later counts: a stream of messages tells the output again as it grows.
    fn add(&mut self, told: &Value) {
        let number = |name: &str| told.get(name).and_then(Value::as_u64);
        let (input, cached) = match self.wire {
            ModelWire::Responses => {
                let details = told.get("input_tokens_details");
                let cached = details.and_then(|details| details.get("cached_tokens"));
                (number("input_tokens"), cached.and_then(Value::as_u64))
            }
            // There the input is told without what was read from or written to the cache.
            ModelWire::Messages => {
                let cached = number("cache_read_input_tokens");
                let written = number("cache_creation_input_tokens").unwrap_or(0);
                let input = number("input_tokens");
                (
                    input.map(|input| input + written + cached.unwrap_or(0)),
                    cached,
                )
            }
        };
        let usage = &mut self.usage;
        usage.input = input.or(usage.input);
        usage.cached = cached.or(usage.cached);
        usage.output = number("output_tokens").or(usage.output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn metered(wire: ModelWire, kind: &'static str, answer: &str, piece: usize) -> Usage {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut meter = Meter::new(wire, &headers);
        for piece in answer.as_bytes().chunks(piece) {
            meter.take(piece);
        }
        meter.usage()
    }

    fn usage(input: u64, cached: u64, output: u64) -> Usage {
        Usage {
            input: Some(input),
            cached: Some(cached),
            output: Some(output),
        }
    }

    const EVENTS: &str = "text/event-stream; charset=utf-8";

    #[test]
    fn a_stream_of_responses_tells_its_tokens_at_the_end() {
        let answer = "event: response.created\n\
            data: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n\
            data: {\"type\":\"response.output_text.delta\",\"delta\":\"the \\\"usage\\\"\"}\n\n\
            data: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":100,\
            \"input_tokens_details\":{\"cached_tokens\":40},\"output_tokens\":7}}}\n\n";
        for piece in [1, 13, 10_000] {
            let metered = metered(ModelWire::Responses, EVENTS, answer, piece);
            assert_eq!(metered, usage(100, 40, 7), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_stream_of_messages_tells_its_tokens_bit_by_bit() {
        let answer = "event: message_start\r\n\
            data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":100,\
            \"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":40,\"output_tokens\":1}}}\r\n\r\n\
            data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":7}}\r\n\r\n";
        let metered = metered(ModelWire::Messages, EVENTS, answer, 9);
        assert_eq!(metered, usage(143, 40, 7));
    }

    #[test]
    fn a_whole_answer_tells_its_tokens_too() {
        let answer = "{\"id\":\"r\",\"usage\":{\"input_tokens\":5,\"output_tokens\":2}}";
        let metered = metered(ModelWire::Responses, "application/json", answer, 4);
        assert_eq!(
            (metered.input, metered.cached, metered.output),
            (Some(5), None, Some(2))
        );
    }

    #[test]
    fn what_is_not_told_is_unknown() {
        for answer in [
            "",
            "data: {\"usage\":",
            "data: [DONE]\n\n",
            "data: {\"usage\":{}}\n",
        ] {
            let metered = metered(ModelWire::Responses, EVENTS, answer, 3);
            assert_eq!(metered, Usage::default(), "{answer}");
        }
    }
}
