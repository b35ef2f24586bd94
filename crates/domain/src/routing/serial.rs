use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

/// A serial number as two of the same machine have it: NFKC, upper case, letters and digits alone.
///
/// `N/A`, nothing but zeros, and nothing at all are none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Serial(String);

impl Serial {
    /// What was written down, if it is a serial number.
    #[must_use]
    pub fn read(written: &str) -> Option<Self> {
        let upper = written.nfkc().flat_map(char::to_uppercase);
        // Upper case can come apart again.
        let plain: String = upper.nfkc().filter(|letter| letter.is_alphanumeric()).collect();
        let none = plain == "NA" || plain.chars().all(|letter| letter == '0');
        (!none).then_some(Self(plain))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
