//! What variables of templates stand for: what is given for them, and what people read.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use super::Voice;
use crate::configuration::Configuration;
use crate::{BrandId, CaseId, Language, StaffId};

/// What a variable of a template stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Type {
    /// Any text.
    Text,
    /// A case, by its id.
    Case,
    /// An `https://` address.
    Link,
    /// Somebody of the staff, by id; read as a name.
    Staff,
    /// A brand, by id; read as a name.
    Brand,
    /// A day.
    Date,
    /// A moment; read in the person's zone.
    DateTime,
    /// An amount of money.
    Money,
    /// A number.
    Number,
}

/// The longest link that a variable stands for, in bytes; longer ones would be cut in a text.
const LINK_AT_MOST: usize = 1_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Type {
    /// What must be given, for people.
    #[must_use]
    pub fn expects(self) -> &'static str {
        match self {
            Self::Text => "a text that is not blank",
            Self::Case => "the id of a case",
            Self::Link => "an https:// address of at most 1000 bytes",
            Self::Staff => "the id of somebody in the directory's staff",
            Self::Brand => "the id of a brand in the directory",
            Self::Date => "a date, e.g. 2026-11-30",
            Self::DateTime => "a time with its offset, e.g. 2026-11-30T21:30:00+08:00",
            Self::Money => "a currency and an amount, e.g. TWD 12800 or USD 99.50",
            Self::Number => "a number, e.g. 12800 or -3.5",
        }
    }

    /// What a person reads for a value; `None`, when it is none of this type.
    pub(super) fn show(
        self,
        value: &str,
        configuration: &Configuration,
        voice: Voice<'_>,
    ) -> Option<String> {
        let language = voice.language;
        match self {
            Self::Text => Some(readable(value)).filter(|text| !text.trim().is_empty()),
            Self::Case => value.parse::<CaseId>().ok().map(|case| case.to_string()),
            Self::Link => is_link(value).then(|| value.to_owned()),
            Self::Staff => {
                let staff: StaffId = value.parse().ok()?;
                configuration.staff.get(&staff).map(|member| readable(&member.name))
            }
            Self::Brand => {
                let brand: BrandId = value.parse().ok()?;
                configuration.brands.get(&brand).map(|brand| brand.name_in(language))
            }
            Self::Date => {
                let date: Date = value.parse().ok()?;
                (date.to_string() == value).then(|| day(date, language))
            }
            Self::DateTime => {
                let moment: Timestamp = value.parse().ok()?;
                Some(minute(voice.zone.time_zone().to_datetime(moment), language))
            }
            Self::Money => {
                let (currency, amount) = value.split_once(' ')?;
                let is_code =
                    currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_uppercase());
                let amount = grouped(amount).filter(|_| is_code)?;
                Some(match currency {
                    "TWD" => format!("NT${amount}").replace("NT$-", "-NT$"),
                    _ => format!("{currency} {amount}"),
                })
            }
            Self::Number => grouped(value),
        }
    }
}

/// The text without what cannot be read: control characters, but for the ends of lines.
pub(super) fn readable(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.replace(|char: char| char.is_control() && char != '\n', " ")
}

fn is_link(text: &str) -> bool {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let blank = |char: char| char.is_whitespace() || char.is_control();
    !host.is_empty() && text.len() <= LINK_AT_MOST && !text.contains(blank)
}

fn day(date: Date, language: Language) -> String {
    let (year, month, day) = (date.year(), date.month(), date.day());
    match language {
        Language::ZhTw => format!("{year}年{month}月{day}日"),
        Language::En => {
            let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month - 1));
            format!("{day} {} {year}", name.unwrap_or(&""))
        }
    }
}

fn minute(at: DateTime, language: Language) -> String {
    let (day, hour, minute) = (day(at.date(), language), at.hour(), at.minute());
    match language {
        Language::ZhTw => format!("{day} {hour:02}:{minute:02}"),
        Language::En => format!("{day}, {hour:02}:{minute:02}"),
    }
}

/// A decimal number with its thousands apart, as both languages write it; up to 15 digits and three
/// behind the point.
fn grouped(number: &str) -> Option<String> {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |text: &str, at_most| {
        (1..=at_most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !are_digits(whole, 15) || !are_digits(fraction, 3) {
        return None;
    }
    let mut shown = sign.to_owned();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if digits.contains('.') {
        shown.push('.');
        shown.push_str(fraction);
    }
    Some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Zone;

    #[test]
    fn values_are_read_as_their_type_and_shown_in_the_language() {
        let configuration: Configuration = serde_json::from_value(serde_json::json!({
            "brands": {"aurora": {"name": "極光 Aurora"}},
            "staff": {"lin": {"name": "林小姐"}},
        }))
        .unwrap();
        let zone = Zone::default();
        let case = CaseId::derive("one").to_string();
        for (of, value, shown) in [
            (Type::Text, "a\u{0}b\r\nc", Some(["a b\nc"; 2])),
            (Type::Text, " \n", None),
            (Type::Case, &case, Some([&*case; 2])),
            (Type::Case, "one", None),
            (Type::Link, "https://shop.example/a?b={c}", Some(["https://shop.example/a?b={c}"; 2])),
            (Type::Link, "http://shop.example", None),
            (Type::Link, "https://shop.example/a b", None),
            (Type::Staff, "lin", Some(["林小姐"; 2])),
            (Type::Staff, "chen", None),
            (Type::Brand, "aurora", Some(["極光 Aurora", "Aurora"])),
            (Type::Brand, "borea", None),
            (Type::Date, "2026-11-03", Some(["2026年11月3日", "3 November 2026"])),
            (Type::Date, "2026-11-31", None),
            (Type::Date, "2026-11-03T10:00", None),
            (
                Type::DateTime,
                "2026-11-30T21:30:00Z",
                Some(["2026年12月1日 05:30", "1 December 2026, 05:30"]),
            ),
            (Type::DateTime, "2026-11-30T21:30:00", None),
            (Type::Money, "TWD 12800", Some(["NT$12,800"; 2])),
            (Type::Money, "TWD -300", Some(["-NT$300"; 2])),
            (Type::Money, "USD 1234567.50", Some(["USD 1,234,567.50"; 2])),
            (Type::Money, "12800", None),
            (Type::Money, "usd 1", None),
            (Type::Number, "-1234.5", Some(["-1,234.5"; 2])),
            (Type::Number, "123", Some(["123"; 2])),
            (Type::Number, "1e3", None),
            (Type::Number, ".", None),
        ] {
            for language in Language::ALL {
                let voice = Voice { brand: None, language, zone: &zone };
                let expected = shown.map(|shown| match language {
                    Language::ZhTw => shown[0],
                    Language::En => shown[1],
                });
                let read = of.show(value, &configuration, voice);
                assert_eq!(read.as_deref(), expected, "{of:?} {value:?} {language}");
            }
        }
    }
}
