//! One body, written as somebody else would write it: JSON readers must not care, and a signature is
//! made over the bytes.

use std::fmt::Write as _;

use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As LINE does today.
    Compact,
    /// With blanks and line breaks anywhere.
    Spaced,
    /// With the fields of each object in another order.
    Shuffled,
    /// With every letter outside ASCII as `\u` and its number, and every slash escaped.
    Escaped,
}

/// Writes a body; the same seed writes it the same way, whatever the values of its fields.
pub(crate) fn write(value: &Value, style: Style, seed: u64) -> String {
    if style == Style::Compact {
        return value.to_string();
    }
    let mut writer = Writer { style, draws: ChaCha8Rng::seed_from_u64(seed), text: String::new() };
    writer.value(value);
    writer.text
}

struct Writer {
    style: Style,
    draws: ChaCha8Rng,
    text: String,
}

impl Writer {
    fn value(&mut self, value: &Value) {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.style == Style::Shuffled {
                    fields.shuffle(&mut self.draws);
                }
                self.items('{', '}', &fields, |writer, (name, value)| {
                    writer.string(name);
                    writer.gap();
                    writer.text.push(':');
                    writer.gap();
                    writer.value(value);
                });
            }
            Value::Array(items) => self.items('[', ']', items, Self::value),
            Value::String(text) => self.string(text),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let _ = write!(self.text, "{value}");
            }
        }
    }

    fn items<T>(&mut self, open: char, close: char, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.text.push(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            self.gap();
            write(self, item);
            self.gap();
        }
        self.text.push(close);
    }

    fn string(&mut self, text: &str) {
        let plain = Value::from(text).to_string();
        if self.style != Style::Escaped {
            self.text += &plain;
            return;
        }
        for letter in plain.chars() {
            match letter {
                '/' => self.text += "\\/",
                ' '..='~' => self.text.push(letter),
                _ => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.text, "\\u{unit:04x}");
                    }
                }
            }
        }
    }

    fn gap(&mut self) {
        if self.style == Style::Spaced {
            self.text += ["", " ", "\n", "\t  ", "\r\n"][self.draws.random_range(0..5)];
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_style_says_the_same_in_other_bytes() {
        let value = json!({"destination": "U1", "events": [
            {"type": "message", "message": {"text": "𨋢口 \"a/b\" \n 😢", "n": 1.5, "t": true}},
            {"type": "follow", "source": null}, [], {},
        ]});
        let compact = write(&value, Style::Compact, 1);
        for style in [Style::Spaced, Style::Shuffled, Style::Escaped] {
            let written = (1..20).map(|seed| write(&value, style, seed)).collect::<Vec<_>>();
            assert!(written.iter().any(|text| *text != compact), "{style:?}");
            for text in &written {
                assert_eq!(serde_json::from_str::<Value>(text).unwrap(), value, "{text}");
            }
            assert_eq!(written[3], write(&value, style, 4));
        }
        assert!(write(&value, Style::Escaped, 1).is_ascii());
        assert!(write(&value, Style::Escaped, 1).contains("\\ud83d\\ude22"));
    }
}
