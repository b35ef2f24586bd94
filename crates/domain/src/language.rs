use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A language that people are spoken to in.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Language {
    /// Chinese in traditional characters, as written in Taiwan: who says nothing is spoken to in it.
    #[default]
    #[serde(rename = "zh-TW")]
    ZhTw,
    /// English.
    #[serde(rename = "en")]
    En,
}

/// Why a text is no language that people are spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be zh-TW or en")]
pub struct NoLanguage;

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ZhTw, Self::En];

    /// Its BCP 47 tag.
    #[must_use]
    pub fn tag(self) -> &'static str {
        match self {
            Self::ZhTw => "zh-TW",
            Self::En => "en",
        }
    }

    /// The one that is nearest to what a vendor says of a person (any BCP 47 tag, e.g. `en-GB`,
    /// `zh-Hant`): by its first part.
    #[must_use]
    pub fn nearest(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_']).next().unwrap_or_default();
        let is = |language: &Self| {
            language.tag().split('-').next().is_some_and(|it| it.eq_ignore_ascii_case(first))
        };
        Self::ALL.into_iter().find(is)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

impl FromStr for Language {
    type Err = NoLanguage;

    fn from_str(text: &str) -> Result<Self, NoLanguage> {
        Self::ALL.into_iter().find(|language| language.tag() == text).ok_or(NoLanguage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_language_of_a_tag() {
        for (tag, language) in [
            ("zh-TW", Some(Language::ZhTw)),
            ("zh_Hant_TW", Some(Language::ZhTw)),
            ("EN-gb", Some(Language::En)),
            ("en", Some(Language::En)),
            ("ja", None),
            ("", None),
            ("english", None),
        ] {
            assert_eq!(Language::nearest(tag), language, "{tag}");
        }
        for language in Language::ALL {
            assert_eq!(language.tag().parse(), Ok(language));
        }
    }
}
