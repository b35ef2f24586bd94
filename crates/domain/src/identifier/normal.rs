use super::{AT_MOST, Identifier, IdentifierError, Kind, email, phone};

/// An identifier in its normal form, as [`normalise`] gives it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Normal {
    /// The identifier.
    pub identifier: Identifier,
    /// Of a phone number, the digits of the extension that was cut off it. It tells nobody: whoever
    /// sits at it shares the number with all others.
    pub extension: Option<String>,
}

/// Reads `kind:value` as a source wrote it.
///
/// Two texts that mean the same give the same identifier, and what it gives stays as it is:
/// [`Identifier`]'s `FromStr` takes it, and normalising it again changes nothing.
///
/// - phone: E.164, a number without a country code being Taiwanese. Full-width characters, blanks,
///   dashes, dots, slashes and parentheses are let pass, letters are not. An extension (`#`, `x`,
///   `ext`, `分機`, `轉`, …; at most 7 digits) is cut off first. A number without trunk zero counts
///   if it has its area code for certain: 9 digits or more. Numbers that are invalid, and those of
///   services (toll-free, premium rate, shared cost, universal access, voice mail), tell nobody:
///   they are errors.
/// - email: NFKC, the local part in lower case, dots and plus parts kept; the domain to ASCII by
///   UTS 46, strict, of two labels or more. The local part is a dot-atom (RFC 5321; other scripts
///   by RFC 6531) of at most 64 bytes; in quotes it is the same mailbox and loses them. A quoted
///   local part that needs its quotes, an address literal, a comment or a display name is an error:
///   no customer has them, and forms of input cannot tell them from mistakes.
/// - member, cookie, external: without blanks at the ends. LINE's ids are opaque.
///
/// # Errors
/// [`IdentifierError::is_malformed`] tells those that the source is to blame for from those that
/// tie nobody.
pub fn normalise(text: &str) -> Result<Normal, IdentifierError> {
    if text.len() > AT_MOST {
        return Err(IdentifierError::Long);
    }
    if text.chars().any(char::is_control) {
        return Err(IdentifierError::Characters);
    }
    if text.trim().is_empty() {
        return Err(IdentifierError::Empty);
    }
    let (kind, value) = text.split_once(':').ok_or(IdentifierError::Kind)?;
    let kind = Kind::from_name(kind.trim()).ok_or(IdentifierError::Kind)?;
    let trimmed = value.trim();
    if trimmed.is_empty() {
        return Err(IdentifierError::Empty);
    }
    let mut extension = None;
    let value = match kind {
        Kind::Phone => {
            let number = phone::normal(trimmed)?;
            extension = number.extension;
            number.e164
        }
        Kind::Email => email::normal(trimmed)?,
        Kind::External => {
            let (system, id) = trimmed.split_once(':').ok_or(IdentifierError::Empty)?;
            format!("{}:{}", system.trim(), id.trim())
        }
        Kind::Member | Kind::Cookie => trimmed.to_owned(),
        Kind::Line => value.to_owned(),
    };
    Ok(Normal { identifier: format!("{kind}:{value}").parse()?, extension })
}

/// Left behind by whatever the text was copied from: it has no width, and no meaning in a number or
/// an address. The joiners of some scripts do have one, and are not among them.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{2064}'
            | '\u{2066}'..='\u{206f}'
            | '\u{feff}'
    )
}
